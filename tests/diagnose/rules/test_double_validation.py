"""HS402: responses validated twice, with the time that FastAPI's steps took."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.double_validation import DoubleValidation
from tests.diagnose.accounts import computed, site, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
from fastapi import FastAPI
from pydantic import BaseModel
app = FastAPI()

class Record(BaseModel):
    name: str

class Answer(BaseModel):
    name: str

@app.get("/", response_model=Answer)
async def read():
    await load()
    return Record(name="a")

async def load(): ...
"""


def test_time_in_the_validators_is_the_cost(tmp_path: Path) -> None:
    """Steps of the handler and, with no user code on the stack, of FastAPI count; waits do not."""
    source = Source(DoubleValidation(), tmp_path, TEXT)
    (candidate,) = source.candidates
    assert candidate.message == "returns a validated Record, which FastAPI validates again as Answer"
    handler = source.site("await load()")
    library = site("", 0, file="", library="fastapi.serialize_response")
    (found,) = source.findings(traffic(10, computed(0.002, handler), waited(0.005, handler), computed(0.015, library)))
    assert (found.line, found.function) == (source.line("return Record"), "read")
    assert found.seconds == pytest.approx(0.017)


def test_a_route_that_no_request_took_is_not_found(tmp_path: Path) -> None:
    """A candidate that the accounts do not show stays a candidate."""
    source = Source(DoubleValidation(), tmp_path, TEXT)
    assert source.findings(traffic(3, computed(0.001, site("other", 5)))) == []

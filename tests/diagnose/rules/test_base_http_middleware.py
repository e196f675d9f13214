"""HS401: middleware on BaseHTTPMiddleware that requests went through."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.base_http_middleware import BaseHttpMiddleware
from tests.diagnose.accounts import computed, site, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
from fastapi import FastAPI
app = FastAPI()

@app.middleware("http")
async def timed(request, call_next):
    response = await call_next(request)
    return response
"""


def test_its_own_steps_are_the_cost(tmp_path: Path) -> None:
    """Loop time in the middleware, of the endpoint that pays most."""
    source = Source(BaseHttpMiddleware(), tmp_path, TEXT)
    inside = source.site("await call_next")
    library = site("", 0, file="", library="starlette.BaseHTTPMiddleware.__call__")
    many = traffic(30, computed(0.0002, inside), computed(0.0001, library), waited(0.010, site("read", 5)))
    few = traffic(2, computed(0.0002, inside), endpoint="GET /rare")
    (found,) = source.findings(many + few)
    assert (found.line, found.function) == (source.line("app.middleware"), "timed")
    assert found.seconds == pytest.approx(0.0003)
    assert found.proof.startswith("32 recorded requests went through it")


def test_middleware_that_no_request_passed_is_not_found(tmp_path: Path) -> None:
    """A candidate that the accounts do not show stays a candidate."""
    source = Source(BaseHttpMiddleware(), tmp_path, TEXT)
    assert len(source.candidates) == 1
    assert source.findings(traffic(3, computed(0.001, site("read", 5)))) == []

"""HS202: sync dependencies that requests handed to the thread pool."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.sync_dependency import SyncDependency
from tests.diagnose.accounts import computed, site, thread_queued, threaded, traffic
from tests.diagnose.sources import Source

TEXT = """
import sqlite3
from fastapi import Depends, FastAPI
app = FastAPI()
db = sqlite3.connect("shop")

def settings():
    return {}

def campaigns():
    return db.execute("select 1")

@app.get("/")
async def read(campaigns=Depends(campaigns), settings=Depends(settings)): ...
"""


def test_queue_and_thread_are_the_cost(tmp_path: Path) -> None:
    """Time in the pool's queue and in its thread, at the function's `def`."""
    source = Source(SyncDependency(), tmp_path, TEXT)
    function = source.site("def campaigns")
    accounts = traffic(10, thread_queued(0.001, function), threaded(0.003, function), computed(0.004, site()))
    (found,) = source.findings(accounts)
    assert (found.line, found.function) == (function.line, "campaigns")
    assert found.seconds == pytest.approx(0.004)
    assert found.proof == "10 of 10 requests handed it to the pool: 4 ms a request, 1 ms of it in the queue"


def test_what_it_needs_the_thread_for_is_said(tmp_path: Path) -> None:
    """A dependency that only computes is told from one that blocks."""
    source = Source(SyncDependency(), tmp_path, TEXT)
    assert {each.message for each in source.candidates} == {
        "dependency settings is sync: it takes a thread for every request though it only computes",
        "dependency campaigns is sync: it takes a thread for every request for sqlite3.Connection.execute",
    }
    assert source.findings(traffic(3, computed(0.001, site("other", 5)))) == []

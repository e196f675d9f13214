"""HS301: loops in which requests really made many calls."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.n_plus_one import NPlusOne
from hasten.ledger import Kind
from tests.diagnose.accounts import Stretch, cached, computed, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
import httpx, sqlite3
from fastapi import FastAPI
app = FastAPI()
client = httpx.AsyncClient()
db = sqlite3.connect("shop")

async def direct(items):
    for item in items:
        item["price"] = await client.get(f"http://price/{item['id']}")

async def through_helper(items):
    return [await price_of(item) for item in items]

async def price_of(item):
    return await client.get(f"http://helper/{item}")

@app.get("/rows")
async def rows(items: list[int]):
    return [
        db.execute("select ?", (item,)) for item in items
    ]
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Return a service with three loops."""
    return Source(NPlusOne(), tmp_path, TEXT)


def test_many_calls_of_a_request_are_proof(source: Source) -> None:
    """Calls at the loop's line in one request, with their number and time."""
    call = source.site("http://price", library="httpx.AsyncClient.get")
    (found,) = source.findings(traffic(10, *[waited(0.005, call)] * 8, computed(0.010, call)))
    assert (found.line, found.function, found.hurt) == (call.line, "direct", 10)
    assert found.seconds == pytest.approx(0.040)
    assert found.proof == "10 of 10 requests made 8.0 calls on average and spent 40 ms a request on them"


def test_waits_for_a_cache_count(source: Source) -> None:
    """A cache that is asked for each item in turn is asked N times."""
    call = source.site("http://price", library="cache GET redis localhost:6379")
    (found,) = source.findings(traffic(10, *[cached(0.005, call)] * 8, computed(0.010, call)))
    assert found.seconds == pytest.approx(0.040)
    assert found.proof.startswith("10 of 10 requests made 8.0 calls")


def test_calls_in_a_helper_are_the_loops(source: Source) -> None:
    """The finding stands at the loop though accounts name the helper's line."""
    call = source.site("http://helper", library="httpx.AsyncClient.get")
    (found,) = source.findings(traffic(10, *[waited(0.005, call)] * 4))
    assert (found.line, found.function) == (source.line("await price_of(item)"), "through_helper")


def test_two_calls_are_no_n(source: Source) -> None:
    """Few calls, or calls that take no time, are no finding."""
    call = source.site("http://price", library="httpx.AsyncClient.get")
    assert source.findings(traffic(10, *[waited(0.005, call)] * 2)) == []
    rest = computed(0.400, source.site("return await client.get"))
    assert source.findings(traffic(10, *[waited(0.0001, call)] * 8, rest)) == []


def test_a_call_that_suspends_in_two_ways_is_one_call(source: Source) -> None:
    """Two calls that each wait for a connection and for an answer are two, not four."""
    call = source.site("http://price", library="httpx.AsyncClient.get")
    connect = Stretch(Kind.WAITING, source.site("http://price", library=call.library, leaf="connect"), 0.005)
    assert source.findings(traffic(10, *[connect, waited(0.005, call)] * 2)) == []


def test_blocking_calls_are_proven_by_samples(source: Source) -> None:
    """A loop of blocking queries is found by the loop time at its line."""
    (found,) = source.findings(traffic(10, computed(0.020, source.site("db.execute"))))
    assert (found.line, found.function) == (source.line("db.execute"), "rows")

"""HS302: independent awaits that requests really waited for in turn."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.sequential_awaits import SequentialAwaits
from hasten.ledger import Kind
from tests.diagnose.accounts import Stretch, cached, computed, traffic, waited
from tests.diagnose.sources import Source

DIRECT = """
import httpx
client = httpx.AsyncClient()

async def page(key):
    price = await client.get("http://price")
    stock = await client.get("http://stock")
    notes = await client.get("http://notes")
    return price, stock, notes
"""

THROUGH_HELPERS = """
import httpx
client = httpx.AsyncClient()

async def page(key):
    price = await get("price")
    stock = await get("stock")
    notes = await get_notes(key)
    return price, stock, notes

async def get(name):
    answer = await client.get("http://" + name)
    return answer.json()

async def get_notes(key):
    return await client.get("http://notes")
"""


def test_the_waits_but_the_longest_are_lost(tmp_path: Path) -> None:
    """Three waits in turn cost what running them together would save."""
    source = Source(SequentialAwaits(), tmp_path, DIRECT)
    (candidate,) = source.candidates
    lines = tuple(source.line(f"http://{name}") for name in ("price", "stock", "notes"))
    assert candidate.lines == lines
    assert candidate.message == "3 awaits in a row do not need each other (client.get, client.get, client.get)"
    waits = [
        waited(seconds, source.site(f"http://{name}", library="httpx.AsyncClient.get"))
        for name, seconds in (("price", 0.010), ("stock", 0.020), ("notes", 0.005))
    ]
    (found,) = source.findings(traffic(10, *waits, computed(0.005, source.site("return price"))))
    assert (found.line, found.function, found.hurt) == (lines[0], "page", 10)
    assert found.seconds == pytest.approx(0.015)
    assert found.share_mean == pytest.approx(0.015 / 0.040)


def test_waits_for_a_cache_count(tmp_path: Path) -> None:
    """Two looks into a cache in turn, independent of each other, could be one round trip."""
    source = Source(SequentialAwaits(), tmp_path, DIRECT)
    library = "cache GET redis localhost:6379"
    waits = [cached(0.010, source.site(f"http://{name}", library=library)) for name in ("price", "stock")]
    (found,) = source.findings(traffic(10, *waits, computed(0.005, source.site("return price"))))
    assert found.seconds == pytest.approx(0.010)


def test_waits_in_helpers_count(tmp_path: Path) -> None:
    """Accounts name the helper's line: two awaits of one helper are taken as equal parts of its time."""
    source = Source(SequentialAwaits(), tmp_path, THROUGH_HELPERS)
    helper = source.site('"http://" + name', library="httpx.AsyncClient.get")
    notes = source.site("http://notes", library="httpx.AsyncClient.get")
    (found,) = source.findings(traffic(10, waited(0.010, helper), waited(0.010, helper), waited(0.030, notes)))
    assert (found.line, found.function) == (source.line('get("price")'), "page")
    assert found.seconds == pytest.approx(0.020)


def test_one_wait_is_no_finding(tmp_path: Path) -> None:
    """Where only one of the awaits takes time there is nothing to run together."""
    source = Source(SequentialAwaits(), tmp_path, DIRECT)
    price, stock = source.site("http://price"), source.site("http://stock")
    assert source.findings(traffic(10, waited(0.030, price), waited(0.0001, stock))) == []
    assert source.findings([]) == []


def test_threads_count_as_waits(tmp_path: Path) -> None:
    """Two functions awaited in threads one after the other could run side by side."""
    source = Source(SequentialAwaits(), tmp_path, THROUGH_HELPERS)
    one, two = source.site('"http://" + name'), source.site("http://notes")
    (found,) = source.findings(traffic(5, Stretch(Kind.THREAD, one, 0.02), Stretch(Kind.THREAD, two, 0.02)))
    assert found.seconds == pytest.approx(0.020)

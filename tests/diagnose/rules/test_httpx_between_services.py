"""HS306: functions in which requests called services with httpx."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.httpx_between_services import HttpxBetweenServices
from tests.diagnose.accounts import computed, site, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
import httpx
client = httpx.AsyncClient()

async def price():
    return await client.get("http://price")

async def stock():
    await client.get("http://stock")
    return await client.post("http://stock/reserve")
"""


def test_loop_time_around_the_calls_is_the_cost(tmp_path: Path) -> None:
    """Each function that waited for httpx is named with its loop time; one that was not run is not."""
    source = Source(HttpxBetweenServices(), tmp_path, TEXT)
    assert [each.function for each in source.candidates] == ["price", "stock"]
    call = source.site("http://price", library="httpx.AsyncClient.get")
    own = source.site("http://price")
    (found,) = source.findings(traffic(10, computed(0.001, own), waited(0.010, call), computed(0.001, call)))
    assert (found.line, found.function, found.hurt) == (call.line, "price", 10)
    assert found.seconds == pytest.approx(0.002)
    assert found.proof == "1.0 calls a request took 2 ms of the loop's time, beside 10 ms of waiting"


def test_without_a_wait_in_httpx_nothing_is_proven(tmp_path: Path) -> None:
    """Own time in the function alone is not httpx'."""
    source = Source(HttpxBetweenServices(), tmp_path, TEXT)
    assert source.findings(traffic(3, computed(0.001, source.site("http://price")), waited(0.1, site()))) == []

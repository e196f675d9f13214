"""HS303: clients that requests made and connected."""

from pathlib import Path

import pytest

from hasten.diagnose.rules.client_per_request import ClientPerRequest
from tests.diagnose.accounts import computed, site, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
import httpx

async def search(words):
    async with httpx.AsyncClient() as client:
        answer = await client.get("http://catalog")
    return answer
"""


def test_making_and_connecting_is_the_cost(tmp_path: Path) -> None:
    """Loop time on the constructor's line and waits for the connection count; waits for the answer do not."""
    source = Source(ClientPerRequest(), tmp_path, TEXT)
    made = source.site("httpx.AsyncClient()", library="httpx.AsyncClient.__init__")
    connect = source.site("http://catalog", library="httpx.AsyncClient.get", leaf="uvloop.Loop.create_connection")
    answer = source.site("http://catalog", library="httpx.AsyncClient.get", leaf="asyncio.Event.wait")
    (found,) = source.findings(traffic(10, computed(0.020, made), waited(0.002, connect), waited(0.030, answer)))
    assert (found.line, found.function, found.hurt) == (made.line, "search", 10)
    assert found.seconds == pytest.approx(0.022)
    assert found.title == "httpx.AsyncClient is made for every request"


def test_code_that_no_request_ran_is_not_found(tmp_path: Path) -> None:
    """A candidate in a function that the accounts do not show stays a candidate."""
    source = Source(ClientPerRequest(), tmp_path, TEXT)
    assert len(source.candidates) == 1
    assert source.findings(traffic(10, computed(0.020, site("other", 5)))) == []

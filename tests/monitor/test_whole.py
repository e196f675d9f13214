"""Responses that the response cache writes at once: they pass the monitor, and are counted."""

import asyncio
import http.client
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import hasten
from hasten.cache import Cache
from hasten.http import HttpProtocol, ResponseCache, Rule
from hasten.http._protocol import Cycle
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._snapshot import HistogramValue
from tests.ledger.serving import uvicorn_serving


async def item(_: Any) -> PlainTextResponse:
    return PlainTextResponse("item")


def ask_thrice(port: int) -> list[bytes]:
    """Ask on one connection, which stays: one that is to end is answered by messages."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    answers = []
    for _ in range(3):
        connection.request("GET", "/items/1")
        answers.append(connection.getresponse().read())
    connection.close()
    return answers


@pytest.mark.parametrize("protocol", [HttpProtocol, "httptools"], ids=["ours", "uvicorn's"])
def test_a_hit_is_counted(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit is written at once where the server can, by messages elsewhere, and counted under the route it is of."""
    written: list[bool] = []
    send_whole = Cycle.send_whole

    def noted(cycle: Cycle, head: bytes, body: bytes) -> bool:
        written.append(send_whole(cycle, head, body))
        return written[-1]

    monkeypatch.setattr(Cycle, "send_whole", noted)
    api = Starlette(routes=[Route("/items/{item}", item)])
    cached = ResponseCache(api, cache=Cache(), rules=[Rule("/items/{item}", ttl=60.0)])
    installed: Any = hasten.install(cached, admin=None, sample_every=1_000_000)

    async def conversation() -> list[bytes]:
        async with uvicorn_serving(installed, http=protocol) as port:
            answers = await asyncio.to_thread(ask_thrice, port)
            counted = await asyncio.to_thread(installed.monitor.snapshot)
        family = counted.family(catalogue.HTTP_SERVER_DURATION)
        counts = {one.values: one.value.count for one in family.series if isinstance(one.value, HistogramValue)}
        assert counts == {("GET", "/items/{item}", "200"): 3}
        return answers

    assert asyncio.run(conversation()) == [b"item"] * 3
    assert written == ([True, True] if protocol is HttpProtocol else [])

"""Calls at a rate, who makes them, and the small app that answers."""

import asyncio
import math
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.drill import Impossible
from hasten.drill._calling import drive, quantile
from hasten.drill._unaccepting import unaccepting
from hasten.drill.subjects._app import App
from tests.conftest import LoopFactory


def test_all_calls_are_noted(loop_factory: LoopFactory) -> None:
    """Those that fail, too, whatever they raise; the same seed makes as many."""
    answers = iter(["one", "", "three"] * 1000)

    async def call() -> str:
        if answer := next(answers):
            return answer
        raise LookupError

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        called = runner.run(drive(call, 1000.0, 0.1))
        again = runner.run(drive(call, 1000.0, 0.1))
    assert len(called) == len(again) > 50
    assert {one.by for one in called} == {"one", "", "three"}
    assert all(one.seconds >= 0.0 for one in called)


@given(st.lists(st.floats(0.0, 10.0), min_size=1), st.floats(0.01, 1.0))
def test_quantile(values: list[float], part: float) -> None:
    """So much of the values, at least, is at or below it, and it is one of them."""
    found = quantile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values) - 1e-9


def test_quantile_of_nothing() -> None:
    """Is never reached."""
    assert quantile([], 0.99) == math.inf


@pytest.mark.may_block
def test_no_connection_is_made(loop_factory: LoopFactory) -> None:
    """At a port of a host that has gone; behind the block there is nobody."""

    async def connect(port: int) -> str:
        try:
            async with asyncio.timeout(0.1):
                await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError) as error:
            return type(error).__name__
        return "connected"

    async def main() -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        async with unaccepting(port):
            told = [await connect(port)]
        return [*told, await connect(port)]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()) == ["TimeoutError", "ConnectionRefusedError"]


@pytest.mark.may_block
def test_a_port_in_use() -> None:
    """Cannot be taken, and that is said."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            async with unaccepting(server.getsockname()[1]):
                pass

    with pytest.raises(Impossible, match=r"port \d+ is in use"):
        asyncio.run(main())


def test_the_app() -> None:
    """Answers by path, with JSON or with bytes as they are, and 404 for others."""

    async def double(query: str) -> tuple[int, Any]:
        return 200, {"twice": 2 * int(query)}

    async def plain(query: str) -> tuple[int, Any]:
        return 503, query.encode()

    async def ask(path: str, query: bytes = b"") -> tuple[int, bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await App({"/double": double, "/plain": plain})(
            {"type": "http", "path": path, "query_string": query}, None, send
        )
        return sent[0]["status"], sent[1]["body"]

    assert asyncio.run(ask("/double", b"21")) == (200, b'{"twice":42}')
    assert asyncio.run(ask("/plain", b"no")) == (503, b"no")
    assert asyncio.run(ask("/other")) == (404, b"")

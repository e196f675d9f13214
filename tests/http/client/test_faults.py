"""What networks do to connections: cuts, half-closings, slices, silence."""

import asyncio

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten.http.client import ConnectionLost, HttpError, Response
from hasten.resilience import RetryBudget
from hasten.testing import Faults
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling_service, pool_of, response, through_a_proxy, until

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 3, 3\r\n",
    b"Content-Length: 99\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
]


def test_slices(loop_factory: LoopFactory) -> None:
    """An answer and a request that come in the smallest pieces are the same as whole ones."""

    async def scenario() -> None:
        body = bytes(range(256)) * 4
        service = Service(response(body))
        async with through_a_proxy(service) as (client, proxy):
            await proxy.inject(Faults(slice_bytes=1))
            for _ in range(3):
                assert (await client.post("/", content=body)).content == body
            assert proxy.connections == 1
        assert [request.partition(b"\r\n\r\n")[2] for request in service.requests] == [body] * 3

    run(loop_factory, scenario())


def test_cut_while_idle(loop_factory: LoopFactory) -> None:
    """After a reset of all idle connections every call is answered, also one that must not be done twice."""

    async def scenario() -> None:
        service = Service()
        async with through_a_proxy(service) as (client, proxy):
            await asyncio.gather(*(client.get("/") for _ in range(5)))
            proxy.reset()
            await until(lambda: not pool_of(client).alive)
            assert (await client.post("/")).status == 200

    run(loop_factory, scenario())


def test_cut_at_any_moment(loop_factory: LoopFactory) -> None:
    """Calls that may be done twice are answered however often connections are cut; others fail, and say why."""

    async def scenario() -> None:
        service = Service()
        lost: list[ConnectionLost] = []
        async with calling_service(service, budget=RetryBudget(10.0), breaker=None) as client:
            for round_ in range(30):
                calls = [asyncio.create_task(client.get("/")) for _ in range(3)]
                calls.append(asyncio.create_task(client.post("/")))
                await passes(round_ % 7 * 3)
                for writer in service.writers:
                    writer.transport.abort()
                *answers, posted = await asyncio.gather(*calls, return_exceptions=True)
                assert [getattr(answer, "content", answer) for answer in answers] == [b"ok"] * 3
                if isinstance(posted, ConnectionLost):
                    lost.append(posted)
                else:
                    assert getattr(posted, "content", posted) == b"ok"
            await until(lambda: pool_of(client).counts[2] == 0)
            opened, idle, _, waiting = pool_of(client).counts
            assert (opened, waiting) == (idle, 0)
        assert all(error.may_be_processed for error in lost)

    run(loop_factory, scenario())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_half_closed(loop_factory: LoopFactory, method: str) -> None:
    """A connection whose server sends no more is not used for the next call."""

    async def scenario() -> None:
        service = Service()
        async with through_a_proxy(service) as (client, proxy):
            await client.get("/1")
            proxy.half_close("down")
            await until(lambda: not pool_of(client).alive)
            assert (await client.request(method, "/2")).status == 200
            assert proxy.connections == 2

    run(loop_factory, scenario())


def test_half_closed_under_way(loop_factory: LoopFactory) -> None:
    """If it ends while an answer is awaited, the call knows at once, and not by its timeout."""

    async def scenario() -> None:
        service = Service(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha")
        async with through_a_proxy(service, retry=None) as (client, proxy):
            call = asyncio.create_task(client.get("/"))
            await service.came.wait()
            await passes(20)
            proxy.half_close("down")
            with pytest.raises(ConnectionLost, match="before the answer was complete"):
                await call

    run(loop_factory, scenario())


def test_late(loop_factory: LoopFactory) -> None:
    """Latency and jitter mix up no answers."""

    async def scenario() -> None:
        service = Service(lambda request, number: response(request.split(b" ", 2)[1]))
        async with through_a_proxy(service) as (client, proxy):
            await proxy.inject(Faults(latency=0.001, jitter=0.005))
            answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(50)))
            assert [answer.text() for answer in answers] == [f"/{number}" for number in range(50)]

    run(loop_factory, scenario())


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=8))
def test_any_service(pieces: list[bytes]) -> None:
    """Whatever a service sends, the call ends, and the next one on another connection is not the worse for it."""

    async def scenario() -> None:
        service = Service()
        service.answer = lambda request, number: b"".join(pieces) + b" " if number == 1 else response(b"fine")
        async with calling_service(service, retry=None, timeout=20) as client:
            call = asyncio.create_task(client.post("/"))
            await service.came.wait()
            await passes(10)
            if not call.done():
                service.writers[0].close()
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(outcome, Response | HttpError)
            assert (await client.get("/")).content == b"fine"
            assert pool_of(client).counts == (1, 1, 0, 0)

    run(uvloop.new_event_loop, scenario())

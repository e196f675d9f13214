"""A call ends in time, wherever it stands, and its host is told how much there is."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from hasten._core.ambient import AMBIENT, Carried
from hasten.http.client import Client, Limits
from hasten.resilience import DeadlineExceeded, deadline
from hasten.resilience._expiry import expiry_of
from hasten.testing import Faults
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling, calling_service, pool_of, through_a_proxy, until
from tests.load.servers import never_answering, serving

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def ambient(seconds: float, trace: str = "") -> Iterator[None]:
    """Be within a request whose caller waits so long."""
    token = AMBIENT.set(Carried(monotonic() + seconds, trace))
    try:
        yield
    finally:
        AMBIENT.reset(token)


def nobody_is_watched() -> bool:
    return not expiry_of(asyncio.get_running_loop()).watched


def test_told(loop_factory: LoopFactory) -> None:
    """A host is told what is left of the call's own time, or of the caller's, if that is less; and the trace."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service, timeout=60) as client:
            await client.get("/")
            assert 50_000 < int(service.fields()["x-request-timeout-ms"]) <= 60_000
            assert "traceparent" not in service.fields()
            await client.get("/", timeout=30)
            assert 20_000 < int(service.fields()["x-request-timeout-ms"]) <= 30_000
            with ambient(20, TRACE):
                await client.get("/")
                assert 10_000 < int(service.fields()["x-request-timeout-ms"]) <= 20_000
                assert service.fields()["traceparent"] == TRACE
            with ambient(math.inf, TRACE):
                await client.get("/")
                assert 50_000 < int(service.fields()["x-request-timeout-ms"]) <= 60_000

    run(loop_factory, scenario())


def test_no_answer(loop_factory: LoopFactory) -> None:
    """Without an answer in time the call ends, its connection is closed, and its place is free."""

    async def scenario() -> None:
        async with calling(never_answering, retry=None) as client:
            with pytest.raises(DeadlineExceeded):
                await client.get("/", timeout=0.02)
            assert pool_of(client).counts == (0, 0, 0, 0)
            with ambient(0.02), pytest.raises(DeadlineExceeded):
                await client.get("/")
            async with deadline(60):
                with pytest.raises(DeadlineExceeded):
                    async with deadline(0.02):
                        await client.get("/")
            assert pool_of(client).counts == (0, 0, 0, 0)
            assert nobody_is_watched()

    run(loop_factory, scenario())


def test_passed_before(loop_factory: LoopFactory) -> None:
    """When there is no time left nothing is sent."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            with ambient(-1), pytest.raises(DeadlineExceeded):
                await client.get("/")
        assert service.connections == 0

    run(loop_factory, scenario())


def test_half_an_answer(loop_factory: LoopFactory) -> None:
    """An answer that stops in the middle ends the call in time, too."""

    async def scenario() -> None:
        service = Service(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        async with calling_service(service) as client:
            with pytest.raises(DeadlineExceeded):
                await client.get("/", timeout=0.02)
            assert pool_of(client).counts == (0, 0, 0, 0)

    run(loop_factory, scenario())


def test_waiting_for_a_connection(loop_factory: LoopFactory) -> None:
    """Who waits for a place in the pool waits no longer than it has time; the one before is left alone."""

    async def scenario() -> None:
        service = Service()
        async with calling(never_answering, limits=Limits(connections=1)) as client:
            first = asyncio.create_task(client.get("/"))
            await until(lambda: client._calls is not None and pool_of(client).counts[0] == 1)
            with pytest.raises(DeadlineExceeded):
                await client.get("/", timeout=0.02)
            assert pool_of(client).counts == (1, 0, 0, 0)
            assert not first.done()
            first.cancel()
        assert service.connections == 0

    run(loop_factory, scenario())


def test_while_connecting(loop_factory: LoopFactory) -> None:
    """Who waits for a connection to be made waits no longer than it has time; whoever comes next has it."""

    async def scenario() -> None:
        service = Service()
        async with serving(service.handle) as url:
            client = Client(url)
            looked_up = asyncio.Event()

            async def slow(*arguments: object, **options: object) -> None:
                await looked_up.wait()

            pool = client._started().hosts.every[0].pool
            connect = pool._connect

            async def connect_late() -> None:
                await slow()
                await connect()

            pool._connect = connect_late  # type: ignore[method-assign]
            async with client:
                with pytest.raises(DeadlineExceeded):
                    await client.get("/", timeout=0.02)
                assert pool.counts == (0, 0, 1, 0)
                looked_up.set()
                await until(lambda: pool.counts == (1, 1, 0, 0))
                await client.get("/")
            assert service.connections == 1

    run(loop_factory, scenario())


def test_a_network_that_has_gone(loop_factory: LoopFactory) -> None:
    """On a kept connection whose network has gone a call ends in time, and the next one has a new connection."""

    async def scenario() -> None:
        async with through_a_proxy(Service()) as (client, proxy):
            await client.get("/")
            await proxy.inject(Faults(swallowed=True))
            with pytest.raises(DeadlineExceeded):
                await client.get("/", timeout=0.02)
            await proxy.inject()
            assert (await client.get("/")).content == b"ok"
            assert proxy.connections == 2

    run(loop_factory, scenario())

"""Calls are sent again when that may help and harms nobody, within a budget and the time that there is."""

import asyncio
from email.utils import formatdate
from time import time
from typing import Any

import pytest

from hasten.http.client import Client, ConnectFailed, ConnectionLost
from hasten.resilience import DeadlineExceeded, RetryBudget, RetryPolicy
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling, calling_service, response
from tests.load.servers import refused_url, resetting, serving

QUICK = RetryPolicy(attempts=3, first_backoff=0.0)
BUSY = response(b"busy", status=503)


def failing_first(times: int, failure: bytes = BUSY) -> Service:
    """Return a service that fails so often, and then answers."""
    return Service(lambda request, number: failure if number <= times else response())


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_statuses(loop_factory: LoopFactory, status: int) -> None:
    """What a service cannot do now is asked again, if it may be done twice; the last answer is the caller's."""

    async def scenario() -> None:
        service = failing_first(2, response(status=status))
        async with calling_service(service, retry=QUICK) as client:
            assert (await client.get("/")).status == 200
        assert len(service.requests) == 3
        service = failing_first(3, response(status=status))
        async with calling_service(service, retry=QUICK) as client:
            assert (await client.get("/")).status == status
            assert (await client.post("/")).status == 200
        assert len(service.requests) == 4

    run(loop_factory, scenario())


@pytest.mark.parametrize("status", [400, 404, 409, 500, 501])
def test_answers(loop_factory: LoopFactory, status: int) -> None:
    """All other statuses are answers, which would be no others a moment later."""

    async def scenario() -> None:
        service = Service(response(status=status))
        async with calling_service(service, retry=QUICK) as client:
            assert (await client.get("/")).status == status
        assert len(service.requests) == 1

    run(loop_factory, scenario())


def test_post(loop_factory: LoopFactory) -> None:
    """What must not be done twice is sent once, unless it has a key by which the service knows it."""

    async def scenario() -> None:
        service = failing_first(1)
        async with calling_service(service, retry=QUICK) as client:
            assert (await client.post("/")).status == 503
        service = failing_first(1)
        async with calling_service(service, retry=QUICK) as client:
            assert (await client.post("/", fields={"idempotency-key": "1"})).status == 200

    run(loop_factory, scenario())


def test_lost_connections(loop_factory: LoopFactory) -> None:
    """A connection that breaks is a reason to send again what may be done twice."""

    async def scenario() -> None:
        service = failing_first(2, b"")
        async with calling_service(service, retry=QUICK) as client:
            assert (await client.get("/")).status == 200
        async with calling(resetting, retry=QUICK) as client:
            with pytest.raises(ConnectionLost):
                await client.get("/")
            with pytest.raises(ConnectionLost) as caught:
                await client.post("/")
            assert caught.value.may_be_processed

    run(loop_factory, scenario())


def test_no_connection(loop_factory: LoopFactory) -> None:
    """Without a connection nothing was sent: any call is made again, at another host if there is one."""

    async def scenario() -> None:
        service = Service()
        async with serving(service.handle) as url:
            for _ in range(5):
                async with Client([refused_url(), url], retry=QUICK) as client:
                    assert (await client.post("/")).status == 200
        assert len(service.requests) == 5
        async with Client(refused_url(), retry=QUICK) as client:
            with pytest.raises(ConnectFailed, match="no connection"):
                await client.post("/")

    run(loop_factory, scenario())


def waits(service: Service, client: Client) -> list[float]:
    """Return the pauses that the client makes from now on, none of which takes time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    client._started()._sleep = sleep
    return pauses


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("3", 3.0, 3.0), (formatdate(time() + 3600, usegmt=True), 3000.0, 3600.0), ("soon", 0.0, 0.1), ("-5", 0.0, 0.1)],
)
def test_retry_after(loop_factory: LoopFactory, value: str, low: float, high: float) -> None:
    """A service that says when to come again is asked then; no sooner than the policy says."""

    async def scenario() -> None:
        service = failing_first(1, response(b"", f"Retry-After: {value}", status=503))
        async with calling_service(service, timeout=4000) as client:
            pauses = waits(service, client)
            assert (await client.get("/")).status == 200
            assert len(pauses) == 1
            assert low <= pauses[0] <= high

    run(loop_factory, scenario())


def test_retry_after_the_deadline(loop_factory: LoopFactory) -> None:
    """If there is not so much time, the answer is returned as it is, at once."""

    async def scenario() -> None:
        service = Service(response(b"", "Retry-After: 60", status=429))
        async with calling_service(service) as client:
            pauses = waits(service, client)
            assert (await client.get("/", timeout=5)).status == 429
            assert pauses == []

    run(loop_factory, scenario())


def test_budget(loop_factory: LoopFactory) -> None:
    """All retries of a client together are a share of its calls, whatever fails."""

    async def scenario() -> None:
        service = Service(BUSY)
        budget = RetryBudget(0.1, minimum_per_second=0.0, reserve=1.0)
        async with calling_service(service, retry=QUICK, budget=budget, breaker=None) as client:
            for _ in range(100):
                assert (await client.get("/")).status == 503
        assert 100 < len(service.requests) <= 111

    run(loop_factory, scenario())


def test_never(loop_factory: LoopFactory) -> None:
    """Without a policy nothing is sent again."""

    async def scenario() -> None:
        service = Service(BUSY)
        async with calling_service(service, retry=None) as client:
            assert (await client.get("/")).status == 503
        assert len(service.requests) == 1

    run(loop_factory, scenario())


def test_one_deadline(loop_factory: LoopFactory) -> None:
    """The time is for all attempts together."""

    async def scenario() -> None:
        service = Service()

        def answer(request: bytes, number: int) -> bytes:
            return BUSY if number == 1 else b"HTTP/1.1 200 OK\r\n"

        service.answer = answer
        async with calling_service(service, retry=QUICK) as client:
            with pytest.raises(DeadlineExceeded):
                await client.get("/", timeout=0.05)
        first, second = (int(service.fields(number)["x-request-timeout-ms"]) for number in (0, 1))
        assert second <= first <= 50

    run(loop_factory, scenario())


# ---- hedges


async def learned(client: Client, calls: int = 20) -> None:
    for _ in range(calls):
        await client.get("/quick")


def stalling(service: Service, times: int) -> asyncio.Event:
    """Let so many requests for /slow have no answer."""
    stalled: list[int] = []

    def answer(request: bytes, number: int) -> bytes:
        if b"/slow" in request and len(stalled) < times:
            stalled.append(number)
            return b"HTTP/1.1 200"
        return response()

    service.answer = answer
    return service.came


def test_hedged(loop_factory: LoopFactory) -> None:
    """A call that takes long is sent a second time, on another connection, and the first answer is taken."""

    async def scenario() -> None:
        service = Service()
        stalling(service, 1)
        async with calling_service(service, hedge=2.0) as client:
            await learned(client)
            assert (await client.get("/slow")).status == 200
            assert service.targets().count("/slow") == 2
            calls = client._calls
            assert calls is not None
            assert [host.outstanding for host in calls.hosts.every] == [0]
            assert calls.hosts.every[0].pool.counts[0] == calls.hosts.every[0].pool.counts[1]
            (host,) = client.statistics().hosts
            assert (host.retries, host.hedges, host.first) == (0, 1, len(service.requests) - 1)

    run(loop_factory, scenario())


def test_both_stalled(loop_factory: LoopFactory) -> None:
    """If both have no answer the call ends in time."""

    async def scenario() -> None:
        service = Service()
        stalling(service, 2)
        async with calling_service(service, hedge=2.0) as client:
            await learned(client)
            with pytest.raises(DeadlineExceeded):
                await client.get("/slow", timeout=0.1)
            assert service.targets().count("/slow") == 2
            assert client._calls is not None
            assert client._calls.hosts.every[0].pool.counts[3] == 0

    run(loop_factory, scenario())


def test_hedge_that_is_refused(loop_factory: LoopFactory) -> None:
    """A second attempt that fails does not end the first."""

    async def scenario() -> None:
        service = Service()
        slow: list[asyncio.StreamWriter] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if b"/slow" not in request:
                    writer.write(response())
                elif not slow:
                    slow.append(writer)
                else:
                    writer.write(BUSY)
                    await writer.drain()
                    service.came.set()

        async with calling(handle, hedge=2.0, retry=None) as client:
            await learned(client)
            call = asyncio.create_task(client.get("/slow"))
            await service.came.wait()
            slow[0].write(response(b"at last"))
            assert (await call).content == b"at last"

    run(loop_factory, scenario())


def test_not_hedged(loop_factory: LoopFactory) -> None:
    """What must not be done twice is not sent twice, however long it takes."""

    async def scenario() -> None:
        service = Service()
        stalling(service, 1)
        async with calling_service(service, hedge=2.0) as client:
            await learned(client)
            with pytest.raises(DeadlineExceeded):
                await client.post("/slow", timeout=0.1)
            assert service.targets().count("/slow") == 1

    run(loop_factory, scenario())


def test_hedges_have_a_budget(loop_factory: LoopFactory) -> None:
    """Hedges are within the same budget as retries."""

    async def scenario() -> None:
        service = Service()
        stalling(service, 1000)
        budget = RetryBudget(0.0, minimum_per_second=0.0, reserve=2.0)
        async with calling_service(service, hedge=2.0, retry=None, budget=budget, breaker=None) as client:
            await learned(client)
            calls: list[Any] = [client.get("/slow", timeout=0.1) for _ in range(10)]
            await asyncio.gather(*calls, return_exceptions=True)
            assert service.targets().count("/slow") == 12

    run(loop_factory, scenario())

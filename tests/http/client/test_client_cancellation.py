"""A call that is cancelled leaves nothing behind: no connection in doubt, no place taken, no watch."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from hasten.http.client import Client, Limits
from hasten.resilience._expiry import expiry_of
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling, calling_service, pool_of, response, until
from tests.load.servers import never_answering, read_request


def test_under_way(loop_factory: LoopFactory) -> None:
    """A cancelled call's connection is closed: the answer that may yet come must be nobody else's."""

    async def scenario() -> None:
        service = Service()
        answered = response(b"late")

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            service.connections += 1
            request = await read_request(reader)
            service.came.set()
            if b"/slow" in request:
                await reader.read()
                writer.write(answered)
            else:
                writer.write(response(b"quick"))

        async with calling(handle) as client:
            call = asyncio.create_task(client.get("/slow"))
            await service.came.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert pool_of(client).counts == (0, 0, 0, 0)
            assert (await client.get("/quick")).content == b"quick"

    run(loop_factory, scenario())


def test_waiting(loop_factory: LoopFactory) -> None:
    """One that waits for a connection leaves the queue at once, and the next in it is served."""

    async def scenario() -> None:
        async with calling(never_answering, limits=Limits(connections=1)) as client:
            calls = [asyncio.create_task(client.get(f"/{number}")) for number in range(3)]
            await until(lambda: client._calls is not None and pool_of(client).counts[0] == 1)
            assert pool_of(client).counts == (1, 0, 0, 2)
            calls[1].cancel()
            await passes()
            assert pool_of(client).counts == (1, 0, 0, 1)
            calls[0].cancel()
            await until(lambda: pool_of(client).counts == (1, 0, 0, 0))
            calls[2].cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert pool_of(client).counts == (0, 0, 0, 0)

    run(loop_factory, scenario())


async def calls_of(client: Client, source: random.Random) -> AsyncIterator["asyncio.Task[None]"]:
    """Yield tasks of calls, each of which gets the answer to its own question or none."""

    async def call(number: int) -> None:
        answer = await client.get(f"/{number}")
        assert answer.text() == f"/{number}"

    for number in range(1000):
        yield asyncio.create_task(call(number))
        if source.random() < 0.3:
            await passes(source.randrange(4))


@pytest.mark.parametrize("hedge", [0.0, 1.01])
def test_a_thousand(loop_factory: LoopFactory, hedge: float) -> None:
    """After a thousand calls, cancelled at any moment, each answer was its caller's, and all connections are clean."""

    async def scenario() -> None:
        source = random.Random(7)

        def answer(request: bytes, number: int) -> bytes:
            return response(request.split(b" ", 2)[1])

        async with calling_service(Service(answer), limits=Limits(connections=10), hedge=hedge) as client:
            tasks = []
            async for task in calls_of(client, source):
                tasks.append(task)
                if source.random() < 0.7:
                    asyncio.get_running_loop().call_later(source.random() / 200, task.cancel)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [one for one in outcomes if one is not None and not isinstance(one, asyncio.CancelledError)]
            assert wrong == []
            pool = pool_of(client)
            await until(lambda: pool.counts[2] == 0)
            opened, idle, _, waiting = pool.counts
            assert (opened, waiting) == (idle, 0)
            assert opened <= 10
            assert [host.outstanding for host in client._calls.hosts.every] == [0]  # type: ignore[union-attr]
            assert not expiry_of(asyncio.get_running_loop()).watched
            assert (await client.get("/last")).text() == "/last"

    run(loop_factory, scenario())


def test_closed_while_it_connects(loop_factory: LoopFactory) -> None:
    """A client that is closed at any moment of its connections' making is closed: it waits for none that is no more."""

    async def scenario() -> None:
        async with calling_service(Service()) as serving:
            for steps in range(60):
                client = Client(f"http://{serving.statistics().hosts[0].name}", retry=None)
                calls = [asyncio.create_task(client.get("/")) for _ in range(8)]
                await passes(1 + steps // 4)
                async with asyncio.timeout(5.0):
                    await client.aclose()
                await asyncio.gather(*calls, return_exceptions=True)
                assert not pool_of(client).alive

    run(loop_factory, scenario())

"""Calls that ask for the same at the same time share one answer, and none of them can spoil it for the others."""

import asyncio

import pytest

from hasten._core.errors import ConfigurationError
from hasten.http.client import ConnectionLost, Response
from hasten.resilience import DeadlineExceeded
from hasten.resilience._expiry import expiry_of
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling, calling_service, response
from tests.load.servers import read_request


class Gate:
    """A service that answers when it is opened."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer or response()
        self.requests: list[bytes] = []
        self.came = asyncio.Event()
        self.opened = asyncio.Event()
        self.gone = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.requests.append(await read_request(reader))
            self.came.set()
            gone = asyncio.create_task(reader.read(1))
            opened = asyncio.create_task(self.opened.wait())
            await asyncio.wait((gone, opened), return_when=asyncio.FIRST_COMPLETED)
            if not opened.done():
                opened.cancel()
                self.gone.set()
                return
            writer.write(self.answer)
            if await gone == b"":
                return


def test_shared(loop_factory: LoopFactory) -> None:
    """A hundred equal calls are one request; a call that comes later is another."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            answers = await asyncio.gather(*(client.get("/", coalesce=True) for _ in range(100)))
            assert {answer.content for answer in answers} == {b"ok"}
            assert len(service.requests) == 1
            await client.get("/", coalesce=True)
            assert len(service.requests) == 2

    run(loop_factory, scenario())


def test_not_shared(loop_factory: LoopFactory) -> None:
    """Calls for something else, of somebody else, or that did not ask for it, are requests of their own."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            await asyncio.gather(
                client.get("/1", coalesce=True),
                client.get("/2", coalesce=True),
                client.get("/1", params={"a": 1}, coalesce=True),
                client.get("/1", fields={"Authorization": "one"}, coalesce=True),
                client.get("/1", fields={"Authorization": "other"}, coalesce=True),
                client.get("/1"),
                client.get("/1", content=b"x", coalesce=True),
            )
            assert len(service.requests) == 7
            with pytest.raises(ConfigurationError, match="for GET only"):
                await client.post("/1", coalesce=True)

    run(loop_factory, scenario())


def test_cancelling_one(loop_factory: LoopFactory) -> None:
    """Cancelling the first caller, or another, leaves the call to the others."""

    async def scenario() -> None:
        gate = Gate()
        async with calling(gate.handle) as client:
            calls = [asyncio.create_task(client.get("/", coalesce=True)) for _ in range(3)]
            await gate.came.wait()
            calls[0].cancel()
            calls[1].cancel()
            await passes()
            gate.opened.set()
            assert (await calls[2]).content == b"ok"
            assert calls[0].cancelled()
            assert calls[1].cancelled()
            assert len(gate.requests) == 1

    run(loop_factory, scenario())


def test_cancelling_all(loop_factory: LoopFactory) -> None:
    """When the last caller has gone the call is given up, and who comes then begins anew."""

    async def scenario() -> None:
        gate = Gate()
        async with calling(gate.handle) as client:
            calls = [asyncio.create_task(client.get("/", coalesce=True)) for _ in range(3)]
            await gate.came.wait()
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            again = asyncio.create_task(client.get("/", coalesce=True))
            await gate.gone.wait()
            gate.opened.set()
            assert (await again).content == b"ok"
            assert len(gate.requests) == 2
            assert not expiry_of(asyncio.get_running_loop()).watched
            assert not client._flights._flights

    run(loop_factory, scenario())


def test_each_has_its_time(loop_factory: LoopFactory) -> None:
    """A caller that has less time than the others leaves in time, also if it was the first."""

    async def scenario() -> None:
        gate = Gate()
        async with calling(gate.handle) as client:
            short = asyncio.create_task(client.get("/", coalesce=True, timeout=0.02))
            await passes(2)
            long = asyncio.create_task(client.get("/", coalesce=True))
            with pytest.raises(DeadlineExceeded):
                await short
            assert len(gate.requests) == 1
            gate.opened.set()
            assert isinstance(await long, Response)
            assert len(gate.requests) == 1

    run(loop_factory, scenario())


def test_a_later_caller_has_its_own_time(loop_factory: LoopFactory) -> None:
    """A caller who came when the call was nearly over, and has time left when it is, makes another."""

    async def scenario() -> None:
        gate = Gate()
        async with calling(gate.handle, timeout=0.03) as client:
            first = asyncio.create_task(client.get("/", coalesce=True))
            await passes(2)
            later = asyncio.create_task(client.get("/", coalesce=True, timeout=30))
            with pytest.raises(DeadlineExceeded):
                await first
            await gate.gone.wait()
            gate.opened.set()
            assert (await later).content == b"ok"
            assert len(gate.requests) == 2

    run(loop_factory, scenario())


def test_failure(loop_factory: LoopFactory) -> None:
    """A failure is everybody's."""

    async def scenario() -> None:
        service = Service(lambda request, number: b"")
        async with calling_service(service, retry=None) as client:
            calls = (client.get("/", coalesce=True) for _ in range(5))
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ConnectionLost] * 5
        assert len(service.requests) == 1

    run(loop_factory, scenario())


def test_closed_client(loop_factory: LoopFactory) -> None:
    """When the client is closed, whoever waits has an error, and is not cancelled."""

    async def scenario() -> None:
        gate = Gate()
        async with calling(gate.handle) as client:
            calls = [asyncio.create_task(client.get("/", coalesce=True)) for _ in range(3)]
            await gate.came.wait()
            await client.aclose()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ConnectionLost] * 3

    run(loop_factory, scenario())

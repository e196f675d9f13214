"""An answer is read while it comes, no faster than it is taken, and may be left early."""

import asyncio

import pytest

from hasten._core.errors import ConfigurationError
from hasten.http.client import BodyTooLarge, Client, ConnectionLost, HttpStatusError, Limits, ProtocolError
from hasten.resilience import DeadlineExceeded, deadline
from hasten.resilience._expiry import expiry_of
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling, calling_service, pool_of, response, until
from tests.load.servers import read_request

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Slow:
    """A service that sends a chunk whenever it is told to.

    Attributes:
      sent: Bytes so far, and those that the kernel and the client have taken, as far as `drain` tells.
    """

    def __init__(self) -> None:
        self.orders: asyncio.Queue[bytes] = asyncio.Queue()
        self.requests = 0
        self.ended = asyncio.Event()

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.orders.put_nowait(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            self.requests += 1
            writer.write(CHUNKED)
            gone = asyncio.create_task(reader.read(1))
            try:
                while not gone.done():
                    order = asyncio.create_task(self.orders.get())
                    await asyncio.wait((order, gone), return_when=asyncio.FIRST_COMPLETED)
                    if not order.done():
                        order.cancel()
                        return
                    writer.write(order.result())
                    await writer.drain()
                    if order.result() == b"0\r\n\r\n":
                        break
            finally:
                gone.cancel()
                self.ended.set()


def test_parts(loop_factory: LoopFactory) -> None:
    """Parts are there as they come; after the last the connection is used again."""

    async def scenario() -> None:
        service = Slow()
        async with calling(service.handle) as client:
            async with client.stream("GET", "/") as answer:
                assert (answer.status, answer.fields["transfer-encoding"]) == (200, "chunked")
                parts = aiter(answer)
                for text in (b"one", b"two"):
                    service.send(text)
                    assert await anext(parts) == text
                service.send(b"")
                assert [part async for part in parts] == []
            assert pool_of(client).counts == (1, 1, 0, 0)
            assert not expiry_of(asyncio.get_running_loop()).watched

    run(loop_factory, scenario())


@pytest.mark.parametrize("answer", [response(b"x" * 100_000), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_read(loop_factory: LoopFactory, answer: bytes) -> None:
    """The whole of an answer can be had, too."""

    async def scenario() -> None:
        async with calling_service(Service(answer)) as client:
            for _ in range(2):
                async with client.stream("GET", "/") as stream:
                    whole = await stream.read()
                    assert whole.content == answer.partition(b"\r\n\r\n")[2]
            assert pool_of(client).counts == (1, 1, 0, 0)

    run(loop_factory, scenario())


def test_read_until_close(loop_factory: LoopFactory) -> None:
    """A streamed answer without a length ends with its connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall")

    async def scenario() -> None:
        async with calling(handle) as client, client.stream("GET", "/") as stream:
            assert (await stream.read()).content == b"all"

    run(loop_factory, scenario())


def test_flow_control(loop_factory: LoopFactory) -> None:
    """Who takes slowly makes the service wait: no more than 0.8 MB is kept."""

    async def scenario() -> None:
        size = 64 * 1024 * 1024
        service = Service(response(b"x" * size))
        async with calling_service(service) as client, client.stream("GET", "/") as stream:
            body = stream._streaming._body
            await until(lambda: body.received > 200_000)
            await passes(2000)
            kept = body.received
            assert kept <= 786_432
            total = 0
            async for part in stream:
                total += len(part)
                assert body._size <= 786_432
            assert total == size
            assert pool_of(client).counts == (1, 1, 0, 0)

    run(loop_factory, scenario())


def test_left_early(loop_factory: LoopFactory) -> None:
    """Leaving the block closes the connection, and the service sees that."""

    async def scenario() -> None:
        service = Slow()
        async with calling(service.handle) as client:
            async with client.stream("GET", "/") as stream:
                service.send(b"one")
                async for part in stream:
                    assert part == b"one"
                    break
            assert pool_of(client).counts == (0, 0, 0, 0)
            await service.ended.wait()
            with pytest.raises(RuntimeError, match="within its block"):
                await stream.read()

    run(loop_factory, scenario())


def test_cancelled(loop_factory: LoopFactory) -> None:
    """So does a cancellation, before the head and while a part is waited for."""

    async def scenario() -> None:
        service = Slow()
        async with calling(service.handle) as client:

            async def read() -> None:
                async with client.stream("GET", "/") as stream:
                    await stream.read()

            for before in (True, False):
                task = asyncio.create_task(read())
                await passes(2)
                if not before:
                    await until(lambda: service.requests > 0)
                    await passes(20)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await until(lambda: pool_of(client).counts[0] == pool_of(client).counts[1])
                assert pool_of(client).counts[3] == 0

    run(loop_factory, scenario())


def test_cut_off(loop_factory: LoopFactory) -> None:
    """What has come before an error is given before it; nothing is taken for the whole."""

    async def scenario() -> None:
        service = Service(response(b"x" * 1000)[:-1] + b"")
        async with calling_service(service) as client:
            got = b""

            async def read() -> None:
                nonlocal got
                async with client.stream("GET", "/") as stream:
                    async for part in stream:
                        got += part
                        service.writers[-1].close()

            with pytest.raises(ConnectionLost):
                await read()
            assert got == b"x" * 999
            service.answer = lambda request, number: CHUNKED + b"3\r\nabc\r\nno size\r\n"
            with pytest.raises(ProtocolError):
                async with client.stream("GET", "/") as stream:
                    await stream.read()
            assert pool_of(client).counts == (0, 0, 0, 0)

    run(loop_factory, scenario())


def test_time(loop_factory: LoopFactory) -> None:
    """Each part has the call's time; the ambient deadline holds for all of it; who works on a part is not timed."""

    async def scenario() -> None:
        service = Slow()
        async with calling(service.handle) as client:
            async with client.stream("GET", "/", timeout=0.05) as stream:
                for _ in range(3):
                    service.send(b"x")
                    await anext(aiter(stream))
                    await asyncio.sleep(0.04)
                with pytest.raises(DeadlineExceeded):
                    await anext(aiter(stream))
            assert pool_of(client).counts == (0, 0, 0, 0)
            with pytest.raises(DeadlineExceeded):
                async with deadline(0.05), client.stream("GET", "/") as stream:
                    await stream.read()
            assert pool_of(client).counts == (0, 0, 0, 0)
            assert not expiry_of(asyncio.get_running_loop()).watched

    run(loop_factory, scenario())


def test_the_host_is_told_of_all_of_it(loop_factory: LoopFactory) -> None:
    """The time of a part is not told to the host, which would end the answer by it; an ambient deadline is."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service, timeout=5) as client:
            async with client.stream("GET", "/") as stream:
                await stream.read()
            assert "x-request-timeout-ms" not in service.fields()
            async with deadline(60), client.stream("GET", "/") as stream:
                await stream.read()
            assert int(service.fields()["x-request-timeout-ms"]) > 50_000

    run(loop_factory, scenario())


def test_bounds(loop_factory: LoopFactory) -> None:
    """A stream may be longer than what is kept whole; reading the whole of it may not."""

    async def scenario() -> None:
        async with calling_service(Service(response(b"x" * 1000)), limits=Limits(most_bytes=100)) as client:
            async with client.stream("GET", "/") as stream:
                assert sum([len(part) async for part in stream]) == 1000
            with pytest.raises(BodyTooLarge):
                async with client.stream("GET", "/") as stream:
                    await stream.read()

    run(loop_factory, scenario())


def test_status(loop_factory: LoopFactory) -> None:
    """A status that is none of success is raised once the whole is there."""

    async def scenario() -> None:
        problem = response(b'{"detail": "no"}', "Content-Type: application/problem+json", status=409)
        async with calling_service(Service(problem)) as client, client.stream("POST", "/", json=1) as stream:
            with pytest.raises(HttpStatusError, match="409 Conflict: no"):
                (await stream.read()).raise_for_status()

    run(loop_factory, scenario())


def test_stale(loop_factory: LoopFactory) -> None:
    """A stream that meets the end of a kept connection is sent again, as any call."""

    async def scenario() -> None:
        service = Service(lambda request, number: b"" if number == 2 else response())
        async with calling_service(service) as client:
            await client.get("/")
            async with client.stream("GET", "/") as stream:
                assert (await stream.read()).content == b"ok"

    run(loop_factory, scenario())


def test_not_shared() -> None:
    """A streamed answer cannot be shared."""
    with pytest.raises(ConfigurationError, match="for one caller"):
        Client("http://a").stream("GET", "/", coalesce=True)


def test_unreachable(loop_factory: LoopFactory) -> None:
    """A stream that cannot begin raises what a call would."""

    async def scenario() -> None:
        async with Client("http://127.0.0.1:1") as client:
            with pytest.raises(Exception, match="no connection"):
                async with client.stream("GET", "/"):
                    raise AssertionError
            assert [host.outstanding for host in client._started().hosts.every] == [0]

    run(loop_factory, scenario())

"""Connections are used again while that is safe, and never when it is not."""

import asyncio
from typing import Any

import pytest

from hasten.http.client import BodyTooLarge, Client, ConnectFailed, ConnectionLost, Limits, ProtocolError
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling, calling_service, pool_of, response, until
from tests.load.servers import read_request, serving


def test_kept(loop_factory: LoopFactory) -> None:
    """One call after the other goes over one connection."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            for _ in range(5):
                assert (await client.get("/")).content == b"ok"
        assert service.connections == 1

    run(loop_factory, scenario())


@pytest.mark.parametrize(
    "answer",
    [
        response(b"ok", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        response(b"ok") + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        response(b"ok") + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_not_kept(loop_factory: LoopFactory, answer: bytes) -> None:
    """A connection whose end is announced, or on which something is wrong, carries no second request."""

    async def scenario() -> None:
        service = Service(answer)
        async with calling_service(service) as client:
            for _ in range(3):
                assert (await client.get("/")).content == b"ok"
        assert service.connections == 3

    run(loop_factory, scenario())


def test_read_until_close(loop_factory: LoopFactory) -> None:
    """An answer without a length ends with its connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of ")
        await writer.drain()
        writer.write(b"it")

    async def scenario() -> None:
        async with calling(handle) as client:
            for _ in range(2):
                assert (await client.get("/")).content == b"all of it"

    run(loop_factory, scenario())


def test_byte_by_byte(loop_factory: LoopFactory) -> None:
    """An answer may come one byte at a time."""
    answer = (
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
    )

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            for byte in answer:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with calling(handle) as client:
            for _ in range(2):
                assert (await client.get("/")).content == b"hello!"
            assert pool_of(client).counts == (1, 1, 0, 0)

    run(loop_factory, scenario())


def test_unasked_bytes(loop_factory: LoopFactory) -> None:
    """What comes on an idle connection answers nothing: the connection is closed, the next call has a new one."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            await client.get("/1")
            service.writers[0].write(response(b"408", status=408))
            await until(lambda: not pool_of(client).alive)
            assert pool_of(client).counts == (0, 0, 0, 0)
            assert (await client.get("/2")).content == b"ok"
        assert service.connections == 2

    run(loop_factory, scenario())


def test_closed_while_idle(loop_factory: LoopFactory) -> None:
    """A connection that the server has closed is not used any more."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            await client.get("/")
            service.writers[0].close()
            await until(lambda: not pool_of(client).alive)
            await client.post("/")  # on a stale one it could not be sent again
        assert service.connections == 2

    run(loop_factory, scenario())


def closing_when_asked_again(service: Service) -> None:
    """Let the service answer the first request of each connection only, and close at the second, as in a race."""
    service.answer = lambda request, number: b"" if number == 2 else response()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_stale(loop_factory: LoopFactory, method: str) -> None:
    """A request that meets the end of a kept connection is sent again, on a new one; no retry is used up for it."""

    async def scenario() -> None:
        service = Service()
        closing_when_asked_again(service)
        async with calling_service(service, retry=None) as client:
            await client.get("/1")
            if method == "HEAD":
                service.answer = lambda request, number: b"" if number == 2 else b"HTTP/1.1 200 OK\r\n\r\n"
            assert (await client.request(method, "/2")).status == 200
        assert service.targets() == ["/1", "/2", "/2"]
        assert service.connections == 2

    run(loop_factory, scenario())


def test_stale_post(loop_factory: LoopFactory) -> None:
    """What must not be done twice is not sent again, and its caller is told that it may have been done."""

    async def scenario() -> None:
        service = Service()
        closing_when_asked_again(service)
        async with calling_service(service) as client:
            await client.get("/1")
            with pytest.raises(ConnectionLost) as caught:
                await client.post("/2")
            assert caught.value.may_be_processed
            assert (await client.post("/3")).status == 200
        assert service.targets() == ["/1", "/2", "/3"]

    run(loop_factory, scenario())


def test_stale_post_with_a_key(loop_factory: LoopFactory) -> None:
    """With an Idempotency-Key it is sent again: the service can tell."""

    async def scenario() -> None:
        service = Service()
        closing_when_asked_again(service)
        async with calling_service(service, retry=None) as client:
            await client.get("/1")
            assert (await client.post("/2", fields={"Idempotency-Key": "7"})).status == 200
        assert service.targets() == ["/1", "/2", "/2"]

    run(loop_factory, scenario())


@pytest.mark.parametrize("part", [b"", b"H", response(b"0123456789")[:-1]])
def test_cut_off(loop_factory: LoopFactory, part: bytes) -> None:
    """A new connection that ends within an answer is an error, sent again only as a retry."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(part)

    async def scenario() -> None:
        async with calling(handle, retry=None) as client:
            with pytest.raises(ConnectionLost):
                await client.get("/")
            assert pool_of(client).counts == (0, 0, 0, 0)

    run(loop_factory, scenario())


def test_stale_twice(loop_factory: LoopFactory) -> None:
    """A request is sent again once: a service that never answers is not asked for ever."""

    async def scenario() -> None:
        service = Service(lambda request, number: b"" if number > 1 else response())
        async with calling_service(service, retry=None) as client:
            await client.get("/1")
            with pytest.raises(ConnectionLost):
                await client.get("/2")
        assert len(service.requests) == 3

    run(loop_factory, scenario())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ProtocolError),
        (response(b"x" * 101), BodyTooLarge),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n", BodyTooLarge),
    ],
)
def test_no_answer(loop_factory: LoopFactory, answer: bytes, error: type[Exception]) -> None:
    """What is no answer, or longer than is taken, is an error that says so, and the connection is closed."""

    async def scenario() -> None:
        service = Service(answer)
        async with calling_service(service, limits=Limits(most_bytes=100)) as client:
            with pytest.raises(error, match=r"127\.0\.0\.1"):
                await client.get("/")
            assert pool_of(client).counts == (0, 0, 0, 0)
        assert len(service.requests) == 1

    run(loop_factory, scenario())


def test_idle_too_long(loop_factory: LoopFactory) -> None:
    """A connection that was idle for longer than it may be is not used again, by the server's word first."""

    async def scenario() -> None:
        service = Service(response(b"ok", "Keep-Alive: timeout=0"))
        async with calling_service(service) as client:
            await client.get("/1")
            await client.get("/2")
            assert service.connections == 2
            service.answer = lambda request, number: response(b"ok", "Keep-Alive: timeout=60")
            await client.get("/3")
            await client.get("/4")
            assert service.connections == 3
            (connection,) = pool_of(client)._idle
            connection.usable_until = 0.0
            await client.post("/5")
            assert service.connections == 4

    run(loop_factory, scenario())


def test_bounded(loop_factory: LoopFactory) -> None:
    """There are no more connections than allowed, and who waits is served in order."""

    async def scenario() -> None:
        order: list[int] = []
        service = Service()
        async with calling_service(service, limits=Limits(connections=1)) as client:

            async def call(number: int) -> None:
                await client.get(f"/{number}")
                order.append(number)

            await asyncio.gather(*(call(number) for number in range(20)))
            assert pool_of(client).counts == (1, 1, 0, 0)
        assert service.connections == 1
        assert order == list(range(20))
        assert service.targets() == [f"/{number}" for number in range(20)]

    run(loop_factory, scenario())


def test_old_ones_are_closed(loop_factory: LoopFactory) -> None:
    """Connections that are not needed any more are closed when their time is over."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service) as client:
            await asyncio.gather(*(client.get("/") for _ in range(5)))
            pool = pool_of(client)
            many = len(pool._idle)
            assert many > 1
            for connection in pool._idle[:-1]:
                connection.usable_until = 0.0
            for _ in range(many):
                await client.get("/")
            assert pool.counts[:2] == (1, 1)

    run(loop_factory, scenario())


def test_head_of_a_long_body(loop_factory: LoopFactory) -> None:
    """An answer to HEAD tells a length and has no body; the connection is used again."""

    async def scenario() -> None:
        service = Service(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        async with calling_service(service) as client:
            for _ in range(2):
                answer = await client.head("/")
                assert (answer.fields["content-length"], answer.content) == ("1000", b"")
        assert service.connections == 1

    run(loop_factory, scenario())


def test_answer_before_the_request_has_gone(loop_factory: LoopFactory) -> None:
    """A service may refuse a large request before it has read it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"too large", "Connection: close", status=413))
        await writer.drain()
        await reader.read()

    async def scenario() -> None:
        async with calling(handle) as client:
            answer = await client.post("/", content=b"x" * 5_000_000)
            assert (answer.status, answer.content) == (413, b"too large")

    run(loop_factory, scenario())


def test_closed_client(loop_factory: LoopFactory) -> None:
    """Closing a client ends what is under way, what waits for a connection, and every transport."""

    async def scenario() -> None:
        service = Service()
        service.answer = lambda request, number: response() if number == 1 else b"HTTP/1.1 200 OK\r\n"
        async with calling_service(service, limits=Limits(connections=1)) as client:
            await client.get("/0")
            calls = [asyncio.create_task(client.get(f"/{number}")) for number in (1, 2)]
            await passes()
            await client.aclose()
            outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ConnectionLost, ConnectionLost]
            assert [outcome.may_be_processed for outcome in outcomes] == [True, False]
            assert not pool_of(client).alive

    run(loop_factory, scenario())


def test_several_addresses() -> None:
    """If the first address of a name takes no connection, the next one is tried."""

    async def scenario() -> None:
        asked: list[str] = []

        async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            return [(2, 1, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

        async with serving(Service().handle) as url:
            asyncio.get_running_loop().getaddrinfo = getaddrinfo  # type: ignore[method-assign, assignment]
            async with Client(url.replace("127.0.0.1", "pricing.example")) as client:
                assert (await client.get("/")).content == b"ok"
        assert asked == ["pricing.example"]

    run(asyncio.new_event_loop, scenario())


def test_no_address(loop_factory: LoopFactory) -> None:
    """A name without an address is a failed connection, whose cause is told."""

    async def scenario() -> None:
        for name in ("no-such-host.invalid", "a" * 64 + ".example"):
            async with Client(f"http://{name}", retry=None) as client:
                with pytest.raises(ConnectFailed, match="no connection"):
                    await client.get("/")

    run(loop_factory, scenario())

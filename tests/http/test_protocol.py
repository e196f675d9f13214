"""The server's protocol: a kept response by one write, and nothing on the wire that uvicorn would not have written."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hasten.http import Rule
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.site import App, Reply, Site
from tests.http.wire import REFUSES_NAMES, SERVER, Connection, both, plain, request, site_with_pages

LATER = ((b"date", b"Tue, 14 Nov 2023 22:13:21 GMT"), (b"server", b"uvicorn"))
CLOSE = "Connection: close"


def asking(*data: bytes) -> Callable[[Connection, Site], Awaitable[None]]:
    async def scenario(connection: Connection, _: Site) -> None:
        for part in data:
            await connection.ask(part)

    return scenario


CASES: dict[str, tuple[list[bytes], int]] = {
    "a page": ([request()], 1),
    "one after the other": ([request(), request("/gone"), request()], 3),
    "pipelined": ([request() + request("/gone") + request()], 3),
    "in parts": ([request()[:30], request()[30:] + request("/gone")[:9], request("/gone")[9:]], 2),
    "an empty page": ([request("/zero")], 1),
    "no content": ([request("/empty")], 1),
    "a redirection": ([request("/moved")], 1),
    "a long page": ([request("/long")], 2),
    "with a query": ([request("/page?a=1"), request("/page?a=1")], 3),
    "Connection: close": ([request() + request("/gone", CLOSE)], 3),
    "more after Connection: close": ([request("/page", CLOSE) + request()], 2),
    "HTTP/1.0": ([request(version="1.0")], 2),
    "HTTP/1.0 that would be kept alive": ([request("/page", "Connection: keep-alive", version="1.0")], 2),
    "a request with a body": ([request(body=b"body")], 2),
    "who expects 100": ([request("/page", "Expect: 100-continue", body=b"body"), request()], 3),
    "a body that is late": ([request("/page", "Content-Length: 4"), b"bo", b"dy" + request()], 3),
    "HEAD": ([request(method="HEAD"), request()], 2),
    "has it": ([request("/page", "If-None-Match: *")], 2),
    "asks for a new one": ([request("/page", "Cache-Control: no-cache"), request()], 3),
    "no rule for it": ([request("/other"), request()], 3),
    "a value that uvicorn refuses": ([request("/control")], 0),
    "a name that uvicorn refuses": ([request() + request("/name")], 1 if REFUSES_NAMES else 2),
    "no HTTP": ([request() + b"\0\0\r\n\r\n"], 2),
    "an upgrade": ([request("/page", "Connection: upgrade", "Upgrade: h2c")], 2),
}


@pytest.mark.parametrize(("data", "writes"), CASES.values(), ids=CASES)
def test_as_uvicorn_writes_it(loop_factory: LoopFactory, data: list[bytes], writes: int) -> None:
    """Whatever is asked for, bytes and what becomes of the connection are uvicorn's; a hit is one write."""

    async def scenario() -> None:
        ours = await both(asking(*data))
        assert len(ours.line.writes) == writes

    run(loop_factory, scenario())


def test_the_whole_of_a_hit(loop_factory: LoopFactory) -> None:
    """A hit has the server's fields, the kept ones, its age, and where it came from."""

    async def scenario() -> None:
        async def later(connection: Connection, site: Site) -> None:
            site.wait(7)
            await connection.ask(request("/gone"))

        head, body = (await both(later)).output.split(b"\r\n\r\n")
        assert body == b"gone"
        assert head.split(b"\r\n") == [
            b"HTTP/1.1 404 Not Found",
            *(b"%b: %b" % pair for pair in SERVER),
            *(b"content-type: application/json", b"link: </a%20b>; rel=next", b"x-empty: ", b"content-length: 4"),
            *(b"age: 7", b"x-cache: hit"),
        ]

    run(loop_factory, scenario())


def test_ages_and_new_responses(loop_factory: LoopFactory) -> None:
    """Each hit has its own age, and a response that takes another's place has its own fields."""

    async def make() -> Site:
        return Site(
            App(Reply({"etag": '"1"'}, b"one"), Reply({"etag": '"2"'}, b"two")), Rule("/page", ttl=10, stale=90)
        )

    async def over_time(connection: Connection, site: Site) -> None:
        for seconds in (0, 0, 9, 11, 3, 0):
            site.wait(seconds)
            await connection.ask(request())

    async def scenario() -> None:
        _, *hits = [
            answer.split(b"etag: ")[1] for answer in (await both(over_time, make)).output.split(b"HTTP/1.1 ")[1:]
        ]
        assert [hit.replace(b"content-length: 3\r\n", b"") for hit in hits] == [
            b'"1"\r\nage: 0\r\nx-cache: hit\r\n\r\none',
            b'"1"\r\nage: 9\r\nx-cache: hit\r\n\r\none',
            b'"1"\r\nage: 20\r\nx-cache: stale\r\n\r\none',
            b'"2"\r\nage: 3\r\nx-cache: hit\r\n\r\ntwo',
            b'"2"\r\nage: 3\r\nx-cache: hit\r\n\r\ntwo',
        ]

    run(loop_factory, scenario())


@pytest.mark.parametrize(("header", "writes"), [("X-From", 1), ("x-%d", 1), ("x from", 0 if REFUSES_NAMES else 1)])
def test_the_name_of_the_field(loop_factory: LoopFactory, header: str, writes: int) -> None:
    """The field that says where a response came from may have any name that uvicorn lets through."""

    async def scenario() -> None:
        ours = await both(asking(request()), lambda: site_with_pages(header=header))
        assert len(ours.line.writes) == writes
        assert (f"\r\n{header.lower()}: hit\r\n".encode() in ours.output) is bool(writes)

    run(loop_factory, scenario())


@pytest.mark.parametrize(
    ("server", "writes"),
    [
        ((), 1),
        ((*SERVER, (b"x-frame-options", b"DENY")), 1),
        ((*SERVER, (b"connection", b"close")), 2),
        ((*SERVER, (b"content-length", b"4")), 2),
        ((*SERVER, (b"x-odd", b"a\nb")), 0),
    ],
)
def test_fields_of_the_server(loop_factory: LoopFactory, server: Any, writes: int) -> None:
    """Fields that the server adds stand where uvicorn has them, and mean what they mean there."""

    async def scenario() -> None:
        ours = await both(asking(request("/gone")), server=server)
        assert len(ours.line.writes) == writes

    run(loop_factory, scenario())


def test_the_date_goes_on(loop_factory: LoopFactory) -> None:
    """A response has the fields that the server had when its request came."""

    async def over_time(connection: Connection, _: Site) -> None:
        await connection.ask(request() + request())
        connection.come(request())
        connection.tick(LATER)
        await connection.ask(request() + request("/gone"))

    async def scenario() -> None:
        ours = await both(over_time)
        assert [ours.output.count(server[0][1]) for server in (SERVER, LATER)] == [3, 2]

    run(loop_factory, scenario())


def test_a_slow_client_is_waited_for(loop_factory: LoopFactory) -> None:
    """Nothing is written to a client that does not read; when it does, it gets everything."""

    async def slowly(connection: Connection, _: Site) -> None:
        await connection.ask(request())
        written = len(connection.output)
        connection.slow(paused=True)
        await connection.ask(request("/gone") + request())
        assert len(connection.output) == written
        connection.slow(paused=False)

    async def scenario() -> None:
        ours = await both(slowly)
        assert len(ours.line.writes) == 4  # that which had to wait came in two

    run(loop_factory, scenario())


@pytest.mark.parametrize("slow", [False, True])
def test_a_client_that_is_gone(loop_factory: LoopFactory, *, slow: bool) -> None:
    """Nothing is written to a client that is gone, and nothing is said about it."""

    async def leaving(connection: Connection, _: Site) -> None:
        connection.slow(paused=slow)
        connection.come(request())
        connection.protocol.connection_lost(ConnectionResetError())

    async def scenario() -> None:
        ours = await both(leaving)
        assert (ours.output, ours.logged) == (b"", [])

    run(loop_factory, scenario())


def test_shutdown(loop_factory: LoopFactory) -> None:
    """A request in flight at shutdown is answered before the connection is closed; an idle connection is closed."""

    async def in_flight(connection: Connection, _: Site) -> None:
        await connection.ask(request())
        connection.come(request("/gone"))
        connection.protocol.shutdown()

    async def idle(connection: Connection, _: Site) -> None:
        await connection.ask(request())
        connection.protocol.shutdown()

    async def scenario() -> None:
        ours = await both(in_flight)
        assert ours.output.endswith(b"\r\n\r\ngone")
        assert "close" in ours.line.seen
        assert "close" in (await both(idle)).line.seen

    run(loop_factory, scenario())


@pytest.mark.parametrize(("level", "writes"), [(logging.INFO, 2), (logging.WARNING, 1)])
def test_access_log(loop_factory: LoopFactory, level: int, writes: int) -> None:
    """With uvicorn's access log on, hits are in it as all responses are."""

    async def scenario() -> None:
        ours = await both(asking(request("/page?")))
        assert len(ours.line.writes) == writes
        assert ours.logged == ['127.0.0.1:50000 - "GET /page HTTP/1.1" 200 None'] * (level == logging.INFO)

    access = logging.getLogger("uvicorn.access")
    before = access.level
    access.setLevel(level)
    try:
        run(loop_factory, scenario())
    finally:
        access.setLevel(before)


# ---- layers outside of the cache


def test_a_layer_that_looks_at_messages_sees_them(loop_factory: LoopFactory) -> None:
    """A layer with a `send` of its own gets a hit's messages, and may change them."""

    async def make() -> Site:
        site = await site_with_pages()
        cache = site.layer

        async def layer(scope: Any, receive: Any, send: Any) -> None:
            async def adding(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"].append((b"x-layer", b"1"))
                await send(message)

            await cache(scope, receive, adding)

        site.layer = layer  # type: ignore[assignment]
        return site

    async def scenario() -> None:
        ours = await both(asking(request(), request()), make)
        assert ours.output.count(b"x-layer: 1\r\n") == 2

    run(loop_factory, scenario())


def test_a_layer_that_passes_everything_on(loop_factory: LoopFactory) -> None:
    """A layer that changes the request alone costs no messages; HEAD that it makes GET has no body."""

    async def make() -> Site:
        site = await site_with_pages()
        cache = site.layer

        async def layer(scope: Any, receive: Any, send: Any) -> None:
            await cache({**scope, "method": "GET"}, receive, send)

        site.layer = layer  # type: ignore[assignment]
        return site

    async def scenario() -> None:
        ours = await both(asking(request("/gone", method="HEAD"), request("/gone")), make)
        assert ours.output.count(b"gone") == 1
        assert len(ours.line.writes) == 2

    run(loop_factory, scenario())


def test_a_layer_that_answers_for_a_body_that_is_held_back(loop_factory: LoopFactory) -> None:
    """After a hit nobody is told to go on and send a body, though a layer hides that the client waits for that."""

    async def make() -> Site:
        site = await site_with_pages()
        cache = site.layer

        async def layer(scope: Any, receive: Any, send: Any) -> None:
            hidden = {b"expect", b"content-length"}
            headers = [pair for pair in scope["headers"] if pair[0] not in hidden]
            await cache({**scope, "headers": headers}, receive, send)
            assert (await receive())["type"] == "http.disconnect"

        site.layer = layer  # type: ignore[assignment]
        return site

    async def scenario() -> None:
        ours = await both(asking(request("/page", "Expect: 100-continue", "Content-Length: 4")), make)
        assert (len(ours.line.writes), ours.output.count(b"HTTP/1.1")) == (1, 1)

    run(loop_factory, scenario())


def test_a_response_that_has_begun(loop_factory: LoopFactory) -> None:
    """After a response no second one is written: it is the error that it is under uvicorn."""

    async def make() -> Site:
        site = await site_with_pages()
        cache = site.layer

        async def layer(scope: Any, receive: Any, send: Any) -> None:
            await cache(scope, receive, send)
            await cache(scope, receive, send)

        site.layer = layer  # type: ignore[assignment]
        return site

    async def scenario() -> None:
        ours = await both(asking(request("/gone")), make)
        assert ours.output.count(b"gone") == 1
        assert "after response already completed" in ours.logged[0]

    run(loop_factory, scenario())


def test_apps_without_a_cache_are_served_as_ever(loop_factory: LoopFactory) -> None:
    """An app that sends messages is answered by uvicorn's own code."""

    async def make() -> Site:
        site = Site(App())
        site.layer = plain  # type: ignore[assignment]
        return site

    async def scenario() -> None:
        ours = await both(asking(request() + request(), request("/long", CLOSE)), make)
        assert len(ours.line.writes) == 6

    run(loop_factory, scenario())


def test_no_other_server_is_taken_for_it(loop_factory: LoopFactory) -> None:
    """Under uvicorn's own protocol a hit is two messages."""

    async def scenario() -> None:
        connection = Connection((await site_with_pages()).layer, HttpToolsProtocol)
        await connection.ask(request())
        assert len(connection.line.writes) == 2
        await connection.end()

    run(loop_factory, scenario())


def test_waiting_for_the_end_of_a_response(loop_factory: LoopFactory) -> None:
    """Who waits for the client's end beside the response is told when it is written."""
    told: list[str] = []

    async def make() -> Site:
        site = await site_with_pages()
        cache = site.layer

        async def layer(scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["type"] == "http.request"
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            await cache(scope, receive, send)
            told.append((await waiting)["type"])

        site.layer = layer  # type: ignore[assignment]
        return site

    async def scenario() -> None:
        ours = await both(asking(request()), make)
        assert (told, len(ours.line.writes)) == (["http.disconnect"] * 2, 1)

    run(loop_factory, scenario())

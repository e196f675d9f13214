"""Responses that come in parts, and those that a cache cannot see whole."""

import asyncio
from typing import Any

import pytest

from hasten.http import Rule
from tests.cache.running import passes
from tests.conftest import LoopFactory
from tests.http.case import asks
from tests.http.site import Answer, App, Ask, Reply, Site, start, stays, with_site

PAGE = Rule("/{path:path}", ttl=60)


class Stream:
    """An app's response whose parts come when the test sends them."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = list(headers)
        self.ended: BaseException | None = None
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, part: bytes | None) -> None:
        self._parts.put_nowait(part)
        await passes()

    async def talk(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            while (part := await self._parts.get()) is not None:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except BaseException as error:
            self.ended = error
            raise


def test_parts_go_on_as_they_come(loop_factory: LoopFactory) -> None:
    """The client for which the app runs gets the parts as they come, and the next one gets the whole."""

    async def scenario(site: Site) -> None:
        stream, answer = Stream(), Answer()
        site.app.talk = stream.talk
        asked = asyncio.ensure_future(site.visit(Ask(), answer))
        await stream.send(b"one ")
        assert (answer.body, answer.state, answer.done) == (b"one ", "miss", False)
        await stream.send(b"two")
        assert answer.body == b"one two"
        await stream.send(None)
        await asked
        assert answer.done
        second = await site.get()
        assert (second.body, second.state, second.fields["content-length"]) == (b"one two", "hit", "7")

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_parts_are_held_for_a_condition(loop_factory: LoopFactory) -> None:
    """A client with a condition gets its 304 when the response is whole: its tag is made of all of it."""

    async def scenario(site: Site) -> None:
        await site.get()
        tag = (await site.get()).fields["etag"]
        site.wait(61)
        site.app.talk = (stream := Stream()).talk
        (asked,) = await start(site, asks(if_none_match=tag))
        await stream.send(b"bo")
        await stream.send(b"dy")
        assert not asked.done()
        await stream.send(None)
        assert (await asked).status == 304

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


@pytest.mark.parametrize("chunks", [(), (b"x" * 6, b"x" * 5), (b"x",) * 11])
def test_too_large(loop_factory: LoopFactory, chunks: tuple[bytes, ...]) -> None:
    """A body over the bound reaches its client whole and is not kept; requests for it wait for nobody then."""

    async def scenario(site: Site) -> None:
        for state in ("miss", "bypass", "bypass"):
            answer = await site.get()
            assert (answer.body, answer.state, answer.done) == (b"x" * 11, state, True)
        site.app.gate.clear()
        asked = await start(site, Ask(), Ask())
        assert site.calls == 5
        site.app.gate.set()
        await asyncio.gather(*asked)

    with_site(loop_factory, lambda: Site(App(Reply(body=b"x" * 11, chunks=chunks)), PAGE, max_body_bytes=10), scenario)


def test_as_large_as_may_be(loop_factory: LoopFactory) -> None:
    """A body of exactly the bound is kept."""

    async def scenario(site: Site) -> None:
        await site.get()
        assert (await site.get()).state == "hit"

    with_site(loop_factory, lambda: Site(App(Reply(body=b"x" * 10)), PAGE, max_body_bytes=10), scenario)


def test_a_stream_without_end(loop_factory: LoopFactory) -> None:
    """A stream goes on to its client for ever; those who wait go on by themselves as soon as it is too long."""

    async def scenario(site: Site) -> None:
        stream, answer = Stream(), Answer()
        site.app.talk = stream.talk
        asked = asyncio.ensure_future(site.visit(Ask(), answer))
        await stream.send(b"x" * 6)
        site.app.talk = None
        (second,) = await start(site, Ask())
        assert not second.done()
        await stream.send(b"x" * 6)
        assert (await second).body == b"body"
        for number in range(100):
            await stream.send(b"y")
            assert len(answer.body) == 13 + number
        asked.cancel()
        await asyncio.wait([asked])
        assert isinstance(stream.ended, asyncio.CancelledError)

    with_site(loop_factory, lambda: Site(App(), PAGE, max_body_bytes=10), scenario)


def test_a_client_that_reads_slowly_holds_nobody_up(loop_factory: LoopFactory) -> None:
    """Who waits for a stream gets it when the app has made it, whoever reads it slowly."""

    async def scenario(site: Site) -> None:
        stream, readable, got = Stream(), asyncio.Event(), Answer()
        site.app.talk = stream.talk

        async def slowly(message: Any) -> None:
            await readable.wait()
            got.take(message)

        slow = asyncio.ensure_future(site.layer(Ask().scope(), stays, slowly))
        (quick,) = await start(site, Ask())
        for part in (b"one ", b"two", None):
            await stream.send(part)
        assert (await quick).body == b"one two"
        assert got.status == 0
        readable.set()
        await slow
        assert (got.body, got.done) == (b"one two", True)

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_an_error_in_the_middle(loop_factory: LoopFactory) -> None:
    """An error in the middle of a body breaks the response as it does without a cache, and keeps nothing."""

    async def scenario(site: Site) -> None:
        answer = Answer()
        with pytest.raises(ValueError, match="broken"):
            await site.visit(Ask(), answer)
        assert (answer.status, answer.body, answer.done) == (200, b"half", False)
        site.wait(2)
        assert (await site.get()).state == "miss"

    with_site(
        loop_factory, lambda: Site(App(Reply(chunks=(b"half",), error=ValueError("broken")), Reply()), PAGE), scenario
    )


@pytest.mark.parametrize("messages", [[], ["start"], ["start", "part"]])
def test_an_app_that_stops_early(loop_factory: LoopFactory, messages: list[str]) -> None:
    """What an app leaves unfinished reaches its client as it is, and is not kept."""
    known = {
        "start": {"type": "http.response.start", "status": 200, "headers": []},
        "part": {"type": "http.response.body", "body": b"half", "more_body": True},
    }

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            for name in messages:
                await send(known[name])

        site.app.talk = talk
        answer = Answer()
        await site.visit(Ask(), answer)
        assert (answer.status, answer.body, answer.done) == (
            200 if messages else 0,
            b"half" * (len(messages) - 1),
            False,
        )
        assert not site.region.entries

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        ({"trailers": True}, [{"type": "http.response.trailers", "headers": [(b"x", b"1")]}]),
        (
            {"trailers": True},
            [{"type": "http.response.body", "body": b"body"}, {"type": "http.response.trailers", "headers": []}],
        ),
        ({}, [{"type": "http.response.pathsend", "path": "/data/page"}]),
        ({}, [{"type": "http.response.zerocopysend", "file": 3}]),
    ],
)
def test_extensions(loop_factory: LoopFactory, start: dict[str, Any], more: list[dict[str, Any]]) -> None:
    """Messages of ASGI's extensions go through as they are, and their responses are not kept."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [], **start})
            for message in more:
                await send(message)

        site.app.talk = talk
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        await site.layer(Ask().scope(), stays, send)
        assert sent[0] == {"type": "http.response.start", "status": 200, "headers": [(b"x-cache", b"miss")], **start}
        assert sent[1:] == more
        assert not site.region.entries

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_early_messages(loop_factory: LoopFactory) -> None:
    """A push, an early hint or a test client's message before the response goes to its client at once, once."""

    async def scenario(site: Site) -> None:
        early = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]}
        sent: list[Any] = []
        counts: list[int] = []

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send(early)
            counts.append(len(sent))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"body"})

        async def send(message: Any) -> None:
            sent.append(message)

        site.app.talk = talk
        await site.layer(Ask().scope(), stays, send)
        assert sent[0] is early
        assert [message["type"] for message in sent[1:]] == ["http.response.start", "http.response.body"]
        assert (await site.get()).state == "hit"
        site.wait(61)
        assert (await site.get()).state == "stale"
        assert (await site.get()).state == "hit"
        assert counts == [1, 3]  # the renewal's goes to nobody
        assert len(sent) == 3

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, stale=60)), scenario)


@pytest.mark.parametrize("kind", [b"text/event-stream; charset=utf-8", b" Multipart/X-Mixed-Replace;boundary=x"])
def test_event_streams(loop_factory: LoopFactory, kind: bytes) -> None:
    """Nobody waits for the end of a stream that has none, and each client's app hears when the client is gone."""

    async def scenario(site: Site) -> None:
        streams = [Stream((b"content-type", kind)) for _ in range(2)]
        answers = [Answer(), Answer()]
        talks = iter(streams)

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await next(talks).talk(scope, receive, send)

        site.app.talk = talk
        asked = [asyncio.ensure_future(site.visit(Ask(), answer)) for answer in answers]
        await passes(30)
        for stream, answer in zip(streams, answers, strict=True):
            await stream.send(b"data: 1\n\n")
            assert answer.body == b"data: 1\n\n"
            await stream.send(None)
        await asyncio.gather(*asked)
        assert not site.region.entries

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_the_end_of_a_client(loop_factory: LoopFactory) -> None:
    """The app hears that its client is gone once the response is for that client alone, and not before."""

    async def scenario(site: Site) -> None:
        heard: list[Any] = []
        stream = Stream((b"cache-control", b"no-store"))
        begin = asyncio.Event()

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            listening = asyncio.ensure_future(receive())
            await passes()
            heard.append(listening.done())
            await begin.wait()
            sending = asyncio.ensure_future(stream.talk(scope, receive, send))
            heard.append(await listening)
            sending.cancel()

        messages = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            pass

        site.app.talk = talk
        asked = asyncio.ensure_future(site.layer(Ask().scope(), receive, send))
        await passes(20)
        begin.set()
        await asked
        assert heard == [False, {"type": "http.disconnect"}]

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)

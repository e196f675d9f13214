"""The server's protocol against uvicorn's, in conversations and with responses that hypothesis thinks of."""

import asyncio
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from hasten.cache import codec_for
from hasten.http import Rule
from hasten.http._stored import StoredResponse
from tests.cache.running import passes, run
from tests.http.case import asks
from tests.http.site import NOON, App, Site
from tests.http.wire import PAGES, SERVER, Connection, both, request

FIELDS = (
    *("Accept: */*", "Accept-Encoding: gzip", "User-Agent: me", "Connection: keep-alive", "Connection: x, Close"),
    *("Connection: close", "Expect: 100-continue", "If-None-Match: *", "Cache-Control: no-cache"),
)
REQUESTS = st.builds(
    lambda path, fields, method, version, body: request(path, *fields, method=method, version=version, body=body),
    st.sampled_from(["/page", "/gone", *PAGES, "/other"]),
    st.lists(st.sampled_from(FIELDS), max_size=2),
    st.sampled_from(["GET"] * 8 + ["HEAD", "POST"]),
    st.sampled_from(["1.1"] * 7 + ["1.0"]),
    st.sampled_from([b""] * 9 + [b"body"]),
)
BETWEEN = ("settle", "turn", "tick", "settle", "slow", "read", "shut down", "lose")


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes | str]:
    """Return requests, cut wherever it may be, with what happens in between."""
    data = b"".join(draw(st.lists(REQUESTS, min_size=1, max_size=5)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    parts: list[bytes | str] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        parts.append(data[start:end])
        parts += draw(st.lists(st.sampled_from(BETWEEN), max_size=3))
    return parts


async def happen(connection: Connection, what: bytes | str) -> None:
    if isinstance(what, bytes):
        connection.come(what)
    elif what in {"slow", "read"}:
        connection.slow(paused=what == "slow")
    elif what == "lose":
        connection.line.lose(ConnectionResetError())
    elif what == "shut down":
        connection.protocol.shutdown()
    elif what == "tick":
        connection.tick((*SERVER, (b"x-tick", b"%d" % len(connection.line.seen))))
    else:
        await passes(1 if what == "turn" else 30)


@settings(max_examples=300, deadline=None)
@given(conversations())
def test_conversations(parts: list[bytes | str]) -> None:
    """Whatever comes over a connection, and whatever happens to it: its other end cannot tell us from uvicorn."""

    async def converse(connection: Connection, _: Site) -> None:
        for part in parts:
            await happen(connection, part)
        connection.slow(paused=False)

    async def scenario() -> None:
        ours = await both(converse)
        answers = ours.output.count(b"HTTP/1.1 ")
        event(f"answers: {min(answers, 3)}, writes: {len(ours.line.writes) - answers} more")

    run(asyncio.new_event_loop, scenario())


# ---- responses

BODIES = st.sampled_from([b"", b"body", b"a" * 65536, b"a" * 65537])
ODD = st.binary(max_size=4)
NAMES = st.sampled_from([b"x", b"x%d", b"content-type", b"link", b"age"])
LENGTHS = st.tuples(st.just(b"content-length"), st.sampled_from([b"0", b"4", b"04", b"+4", b"65537"]))
FRAMING = st.tuples(
    st.sampled_from([b"connection", b"transfer-encoding"]), st.sampled_from([b"close", b"keep-alive", b"chunked"])
)
TAME = st.tuples(NAMES, st.binary(max_size=4).map(lambda value: b"%b" % value.hex().encode()))
HEADERS = st.lists(
    st.one_of(TAME, TAME, TAME, LENGTHS, FRAMING, st.tuples(NAMES, ODD), st.tuples(ODD.map(bytes.lower), ODD)),
    max_size=3,
)


@st.composite
def responses(draw: st.DrawFn) -> StoredResponse:
    """Return a response as a second tier might give it: of any kind, with the right length mostly."""
    body = draw(BODIES)
    headers = draw(HEADERS)
    if draw(st.integers(0, 3)):
        headers.append((b"content-length", b"%d" % len(body)))
    status = draw(st.sampled_from([200, 200, 204, 304, 404, 418, 599, 600]))
    born = NOON - draw(st.sampled_from([0, 0.5, 59, 61, -1]))
    return StoredResponse(status, tuple(headers), body, born, 60.0, for_authorized=True, for_cookies=True)


@settings(max_examples=300, deadline=None)
@given(responses(), HEADERS, st.sampled_from([b"", b"Connection: close"]))
def test_responses(stored: StoredResponse, server: Any, field: bytes) -> None:
    """Whatever is kept, and whatever fields the server adds: the bytes are uvicorn's, or the error is."""

    async def make() -> Site:
        site = Site(App(), Rule("/page", ttl=60))
        await site.get(asks())
        (entry,) = site.region.entries.values()
        entry.value = stored
        return site

    async def twice(connection: Connection, _: Site) -> None:
        await connection.ask(request())
        await connection.ask(request("/page", *([field.decode()] if field else [])))

    async def scenario() -> None:
        ours = await both(twice, make, tuple(server))
        event(f"errors: {len(ours.logged)}, writes: {len(ours.line.writes)}")
        codec = codec_for(StoredResponse)
        again = codec.decode(codec.encode(stored))
        assert (again, hasattr(again, "lines")) == (stored, False)

    run(asyncio.new_event_loop, scenario())

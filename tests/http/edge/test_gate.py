"""What is refused unread: nothing but what a parser takes for one whole GET that leaves its connection open."""

import httptools
from hypothesis import example, given
from hypothesis import strategies as st

from hasten.http._gate import EdgeRule, Gate
from hasten.resilience import Limiter, Priority

LINES = (
    b"Host: a",
    b"hOST: a:80",
    b"User-Agent: x",
    b"Accept: */*",
    b"Connection: close",
    b"connection:close",
    b"CONNECTION: Keep-Alive",
    b"Connection: keep-alive, Upgrade",
    b"Connection: TE",
    b"Upgrade: websocket",
    b"Content-Length: 0",
    b"content-length:5",
    b"CONTENT-LENGTH : 5",
    b"Transfer-Encoding: chunked",
    b"tRANSFER-encoding: chunked",
    b"Expect: 100-continue",
    b"X: close",
    b"X:\tcontent-length: 4",
    b" folded",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"te: trailers",
    b"Cookie: a=b",
    b"",
    b"GET / HTTP/1.1",
)
FIRST = (
    b"GET / HTTP/1.1",
    b"GET /a/b?c=%20d HTTP/1.1",
    b"GET /%2e HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET http://a/ HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET  / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"HEAD / HTTP/1.1",
    b"POST / HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\xc3\xa4 HTTP/1.1",
    b"get / HTTP/1.1",
    b"",
)
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n")


def full_gate(*rules: EdgeRule) -> Gate:
    limiter = Limiter(initial=1, least=1, most=1)
    assert limiter.admits()
    return Gate(limiter=limiter, rules=rules, timeout=1.0, priority_field=None)


class Parsed:
    """What httptools makes of some bytes, fed as uvicorn feeds them."""

    def __init__(self, data: bytes) -> None:
        self.begun = self.ended = 0
        self.body = b""
        self.keeps_alive = True
        self.upgrades = self.fails = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgrades = True
        except httptools.HttpParserError:
            self.fails = True

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1
        self.keeps_alive &= self._parser.should_keep_alive()


heads = st.tuples(
    st.sampled_from(FIRST),
    st.lists(st.tuples(st.sampled_from(ENDS), st.sampled_from(LINES)), max_size=6),
    st.sampled_from((b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n")),
).map(lambda parts: parts[0] + b"".join(end + line for end, line in parts[1]) + parts[2])


@given(st.one_of(heads, st.lists(heads, max_size=3).map(b"".join), st.binary(max_size=60)))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: a\n\nGET / HTTP/1.1\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\n")
def test_nothing_but_a_plain_get(data: bytes) -> None:
    """What is refused unread is one message for a parser, or none at all; never one that goes on behind it."""
    if not full_gate().refuse_unread(data):
        return
    parsed = Parsed(data)
    assert parsed.begun == 1
    assert parsed.fails or (parsed.ended == 1 and parsed.keeps_alive)
    assert not parsed.body
    assert not parsed.upgrades


@given(st.sampled_from([b"/", b"/a/b?c=d", b"/~x;y=z"]), st.lists(st.sampled_from(LINES[:4]), max_size=4))
def test_what_clients_send_is_refused_unread(target: bytes, fields: list[bytes]) -> None:
    """A plain GET, as clients send it, needs no parser."""
    data = b"".join(line + b"\r\n" for line in (b"GET %b HTTP/1.1" % target, *fields, b""))
    gate = full_gate()
    assert gate.refuse_unread(data)
    assert gate.limiter is not None
    assert sum(gate.limiter.statistics().refused) == 1


@given(
    st.sampled_from(("/low", "/high", "/other")),
    st.sampled_from((b"", b"X-Priority: high", b"x-priority:low", b"X-PRIORITY:  Normal ", b"X-Priority: 7")),
    st.integers(0, 10),
)
def test_as_if_it_were_read(path: str, line: bytes, held: int) -> None:
    """Unread or read, the same requests are refused: by rule and by request field."""
    rules = (EdgeRule("/low", priority=Priority.LOW), EdgeRule("/high", priority=Priority.HIGH))
    limiter = Limiter(initial=10, least=10, most=10)
    gate = Gate(limiter=limiter, rules=rules, timeout=1.0, priority_field="X-Priority")
    for _ in range(held):
        assert limiter.admits(Priority.HIGH)
    fields = b"".join(each + b"\r\n" for each in (b"Host: a", line) if each)
    refused = gate.refuse_unread(b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), fields))
    name, _, value = line.partition(b":")
    admitted = gate.admits(gate.rule("GET", path), [(name.lower(), value.strip())])
    assert admitted is not refused


@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=2000), max_size=30))
def test_paths_are_not_kept_without_end(paths: list[str]) -> None:
    """Long paths are looked at each time, and none changes what another one's rule is."""
    gate = full_gate(EdgeRule("/a", timeout=1.0))
    for path in paths:
        gate.rule("GET", "/" + path)
    assert all(len(path) <= 1024 for path in gate._seen)
    assert gate.rule("GET", "/a").timeout == 1.0

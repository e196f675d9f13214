"""The edge's deadline: what a request has, what its caller has left, and what is answered when it is over."""

import asyncio
import math
import sys
import time
from typing import Any

import pytest

from hasten import ConfigurationError
from hasten._core.ambient import AMBIENT
from hasten.http import Edge, EdgeRule, HttpProtocol
from hasten.monitor import outgoing_headers
from hasten.resilience import DeadlineExceeded, Refused, remaining
from tests.http.edge.serving import every_server, hello, in_loops, served


class Waiting:
    """An app that does not answer.

    Attributes:
      left: Seconds that each request had when it came.
      ended: How each of them was ended.
    """

    def __init__(self, chunk: bytes = b"") -> None:
        self.left: list[float] = []
        self.ended: list[type[BaseException]] = []
        self._chunk = chunk

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.left.append(remaining())
        if self._chunk:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self._chunk, "more_body": True})
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            self.ended.append(type(error))
            raise


@every_server
@in_loops
async def test_too_late(http: Any) -> None:
    """What has not begun to answer in time is cancelled, and answered with 504; the connection goes on."""
    app = Waiting()
    async with served(app, http, timeout=0.02) as connect:
        client = await connect()
        for _ in range(2):
            answer = await client.ask()
            assert answer.problem == {
                "title": "Gateway Timeout",
                "status": 504,
                "detail": "the time that there was for an answer is over",
            }
    assert app.ended == [asyncio.CancelledError] * 2


@every_server
@in_loops
async def test_the_caller_has_less(http: Any) -> None:
    """What its caller has left bounds a request, and cannot lengthen its time; what is no number is as none."""
    app = Waiting()
    async with served(app, http, timeout=0.2) as connect:
        client = await connect()
        for value in ("20", "3600000", "-5", "1e1", "9" * 13):
            assert (await client.ask("/", f"X-Request-Timeout-Ms: {value}")).status == 504
    assert app.left[0] <= 0.02
    assert all(0.02 < left <= 0.2 for left in app.left[1:])
    assert len(app.left) == 5


@every_server
@in_loops
async def test_nothing_is_begun_when_it_is_over(http: Any) -> None:
    """A request whose caller has no time left is answered, and the app does not see it."""
    app = Waiting()
    async with served(app, http) as connect:
        assert (await (await connect()).ask("/", "X-Request-Timeout-Ms: 0")).status == 504
    assert app.left == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked")
@in_loops
async def test_what_has_lain_unread() -> None:
    """The time in which nobody has read a request, since the loop was held, is part of what it has."""
    app = Waiting()
    async with served(app, HttpProtocol) as connect:
        client = await connect()
        client.send("/", "X-Request-Timeout-Ms: 30")
        until = time.monotonic() + 0.06
        while time.monotonic() < until:
            pass
        assert (await client.answer()).status == 504
    assert app.left == []


@every_server
@in_loops
async def test_broken_off(http: Any) -> None:
    """A response that has begun when its time is over is broken off: its client sees that it is not whole."""
    app = Waiting(b"some")
    async with served(app, http, timeout=0.02) as connect:
        answer = await (await connect()).ask()
        assert (answer.status, answer.body, answer.complete) == (200, b"some", False)
    assert app.ended == [asyncio.CancelledError]


@every_server
@in_loops
async def test_rules(http: Any) -> None:
    """The first rule that matches path and method says how long; others have the edge's time."""
    left: dict[str, float] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            left[f"{scope['method']} {scope['path']}"] = remaining()
        await hello(scope, receive, send)

    rules = (
        EdgeRule("/reports/{name}", methods=("POST",), timeout=60.0),
        EdgeRule("/reports/{name}", timeout=5.0),
        EdgeRule("/events/{rest:path}", timeout=math.inf),
    )
    async with served(app, http, timeout=1.0, rules=rules) as connect:
        client = await connect()
        for method, path in (
            ("GET", "/reports/x"), ("POST", "/reports/x"), ("GET", "/events/a/b"), ("GET", "/reports/x/y"),
        ):  # fmt: skip
            assert (await client.ask(path, method=method)).body == b"hello"
        assert (await client.ask("/events/c", "X-Request-Timeout-Ms: 2000")).body == b"hello"
    assert left.pop("GET /events/a/b") == math.inf
    assert {target: math.ceil(seconds) for target, seconds in left.items()} == {
        "GET /reports/x": 5, "POST /reports/x": 60, "GET /reports/x/y": 1, "GET /events/c": 2,
    }  # fmt: skip


@every_server
@in_loops
async def test_what_an_app_raises(http: Any) -> None:
    """An app that has no time, or is refused something it needs, says so by raising it; other errors are the app's."""
    errors = [
        DeadlineExceeded(0.1, 0.5),
        Refused("breaker", "it is open", 4.2),
        Refused("bulkhead", "full"),
        KeyError(),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            raise errors.pop(0)

    async with served(app, http) as connect:
        client = await connect()
        assert (await client.ask()).problem["status"] == 504
        answer = await client.ask()
        assert answer.problem == {
            "title": "Service Unavailable", "status": 503, "detail": "breaker: it is open; again in 4.2 s",
        }  # fmt: skip
        assert answer.fields["retry-after"] == "5"
        assert (await client.ask()).fields["retry-after"] == "1"
        assert (await client.ask()).status == 500


@every_server
@in_loops
async def test_trace_and_id(http: Any) -> None:
    """What a caller says of its trace and its request's id is carried along, and is gone with the request."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    seen: list[dict[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(outgoing_headers())
        await hello(scope, receive, send)

    async with served(app, http) as connect:
        client = await connect()
        await client.ask("/", f"traceparent: {trace}", "X-Request-Id: 7")
        await client.ask("/")
    assert seen == [{"traceparent": trace, "x-request-id": "7"}, {}]
    assert AMBIENT.get() is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Edge(hello, timeout=0.0), "Edge(timeout=0.0): must be above 0"),
        (lambda: Edge(hello, timeout=math.nan), "Edge(timeout=nan): must be above 0"),
        (lambda: EdgeRule("reports"), "EdgeRule reports: the path does not begin with /"),
        (lambda: EdgeRule("/{a:day}"), "EdgeRule /{a:day}: {a:day} cannot be matched"),
        (lambda: EdgeRule("/a", timeout=-1.0), "EdgeRule /a: timeout=-1.0"),
        (lambda: EdgeRule("/a", methods="GET"), "EdgeRule /a: methods='GET'"),
    ],
)
def test_wrong_options(make: Any, said: str) -> None:
    """What cannot be is refused when it is written down, in one line."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)

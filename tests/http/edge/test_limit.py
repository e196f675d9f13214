"""The edge's limit: what there is no room for is refused, and everything that ends makes room again."""

import asyncio
from typing import Any

import pytest

from hasten.http import EdgeRule
from hasten.resilience import Limiter, Priority
from tests.http.edge.serving import Client, every_server, hello, in_loops, served


class Held:
    """An app that holds requests until it is told to answer them.

    Attributes:
      held: How many have come.
      free: Set when they are to be answered.
    """

    def __init__(self) -> None:
        self.held = 0
        self.free = asyncio.Event()
        self._came = asyncio.Condition()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/held"):
            async with self._came:
                self.held += 1
                self._came.notify_all()
            await self.free.wait()
        await hello(scope, receive, send)

    async def holds(self, most: int) -> None:
        """Wait until so many have come."""
        async with self._came:
            await self._came.wait_for(lambda: self.held == most)


def limiter_of(most: int) -> Limiter:
    return Limiter(initial=most, least=most, most=most)


@every_server
@in_loops
@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("HEAD", b""), ("POST", b"some"), ("DELETE", b"")])
async def test_refused(http: Any, method: str, body: bytes) -> None:
    """At the limit a request is answered with 503, a problem, and when to ask again; its connection goes on."""
    app, limiter = Held(), limiter_of(1)
    async with served(app, http, limiter=limiter) as connect:
        first, second = await connect(), await connect()
        first.send("/held")
        await app.holds(1)
        for _ in range(4):
            answer = await _asked(second, method, body)
            assert answer[0] == 503
            assert answer[1] in {"1", "2", "3"}
        app.free.set()
        assert (await first.answer()).body == b"hello"
        assert (await _asked(second, method, body))[0] == 200
    counted = limiter.statistics()
    assert (counted.in_flight, sum(counted.admitted), sum(counted.refused)) == (0, 2, 4)


async def _asked(client: Client, method: str, body: bytes) -> tuple[int, str]:
    client.send("/x", method=method, body=body)
    if method == "HEAD":
        head = await client.head()
        return int(head.split()[1]), head.partition("retry-after: ")[2].partition("\r\n")[0]
    answer = await client.answer()
    if answer.status == 503:
        assert answer.problem["title"] == "Service Unavailable"
    return answer.status, answer.fields.get("retry-after", "")


@every_server
@in_loops
async def test_pipelined(http: Any) -> None:
    """Of requests that are sent at once each has its answer, in their order, refused or not."""
    app, limiter = Held(), limiter_of(1)
    async with served(app, http, limiter=limiter) as connect:
        holder, client = await connect(), await connect()
        holder.send("/held")
        await app.holds(1)
        for method in ("GET", "POST", "GET", "GET"):
            client.send("/x", method=method, body=b"some" if method == "POST" else b"")
        assert [(await client.answer()).status for _ in range(4)] == [503] * 4
        app.free.set()
        assert (await holder.answer()).status == 200
        client.send("/y")
        client.send("/y")
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
    assert limiter.in_flight == 0


@every_server
@in_loops
async def test_health_is_exempt(http: Any) -> None:
    """Health and metrics are answered at the limit, and what a rule exempts; they take no room."""
    app, limiter = Held(), limiter_of(1)
    rules = (EdgeRule("/held/stream", exempt=True), EdgeRule("/metrics"))
    async with served(app, http, limiter=limiter, rules=rules) as connect:
        streaming, holder, client = await connect(), await connect(), await connect()
        streaming.send("/held/stream")
        await app.holds(1)
        holder.send("/held")
        await app.holds(2)
        for path, status in (("/healthz", 200), ("/livez?verbose", 200), ("/readyz", 200), ("/metrics", 503)):
            assert (await client.ask(path)).status == status
        assert limiter.in_flight == 1
        app.free.set()
        assert [(await each.answer()).status for each in (streaming, holder)] == [200, 200]


@every_server
@in_loops
async def test_priorities(http: Any) -> None:
    """Where there is little room the lower priorities are refused first, as rule or request field say."""
    app, limiter = Held(), limiter_of(10)
    rules = (EdgeRule("/report", priority=Priority.LOW), EdgeRule("/pay", methods=("POST",), priority=Priority.HIGH))
    async with served(app, http, limiter=limiter, rules=rules, priority_field="X-Priority") as connect:
        client = await connect()

        async def statuses() -> list[int]:
            asked = (
                client.ask("/report"), client.ask("/x"), client.ask("/pay", method="POST"),
                client.ask("/pay", "X-Priority: low", method="POST"), client.ask("/report", "x-priority:  HIGH"),
                client.ask("/report", "X-Priority: dear"),
            )  # fmt: skip
            return [(await each).status for each in asked]

        for held, expected in (
            (4, [200, 200, 200, 200, 200, 200]),
            (6, [503, 200, 200, 503, 200, 503]),
            (9, [503, 503, 200, 503, 200, 503]),
            (13, [503, 503, 503, 503, 503, 503]),
        ):
            for _ in range(held - app.held):
                (await connect()).send("/held", "X-Priority: high")
            await app.holds(held)
            assert await statuses() == expected
        app.free.set()


@every_server
@in_loops
async def test_what_fails_makes_room(http: Any) -> None:
    """An app that raises, answers nothing, or breaks a response off leaves no place taken."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != "/nothing":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/raise":
            raise LookupError

    limiter = limiter_of(1)
    async with served(app, http, limiter=limiter) as connect:
        for path in ("/raise", "/nothing", "/half", "/raise"):
            client = await connect()
            client.send(path)
            while not await client.is_closed():
                pass
            assert limiter.in_flight == 0


@in_loops
async def test_the_time_of_answers() -> None:
    """The limiter learns what answers take by their routes; background work behind an answer is not part of it."""
    told: list[tuple[float, str]] = []

    class Told(Limiter):
        __slots__ = ()

        def ended(self, seconds: float, kind: str = "", queued: float = 0.0) -> None:
            told.append((seconds, kind))
            super().ended(seconds, kind, queued)

    released = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["route"] = _Route("/things/{id}")
            await hello(scope, receive, send)
            await released.wait()

    async with served(app, "hasten.http:HttpProtocol", limiter=(limiter := Told())) as connect:
        client = await connect()
        assert (await client.ask("/things/7")).status == 200
        assert limiter.in_flight == 0
        released.set()
    assert [kind for _, kind in told] == ["/things/{id}"]
    assert all(seconds > 0.0 for seconds, _ in told)


class _Route:
    def __init__(self, path: str) -> None:
        self.path = path

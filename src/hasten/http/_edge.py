"""The edge: the layer at which a request gets its deadline, and at which its end is known."""

from asyncio import CancelledError
from collections.abc import Iterable
from math import inf
from time import monotonic

from hasten._core.ambient import AMBIENT
from hasten.http._asgi import App, Receive, Scope, Send
from hasten.http._elsewhere import Elsewhere
from hasten.http._gate import GATE, EdgeRule, Gate, time_allowed
from hasten.http._problems import TOO_LATE, Problem, answer_nobody
from hasten.http._under_way import UNDER_WAY, UnderWay
from hasten.monitor._trace import Incoming
from hasten.resilience import DeadlineExceeded, Limiter, Refused, deadline_at


class Edge:
    """Bounds what requests take, and how many there are: `app.add_middleware(Edge, limiter=Limiter(), timeout=2.0)`.

    Add it last, so that it is outside of all others.

    Deadline: each request has `timeout` seconds, or what its caller has left (`x-request-timeout-ms`, milliseconds), if
    that is less, counted from when it came: what it has lain unread while the loop was busy is part of it (Linux, under
    `HttpProtocol`). It is the ambient deadline (`hasten.resilience`): calls take it along. A request that has not begun
    to answer by then is answered with 504; one that has is broken off.

    Client gone: the request's task is cancelled at once, or not begun where the client had gone before its request was
    read (Linux, under `HttpProtocol`), and what it calls is cancelled with it, also behind BaseHTTPMiddleware. A
    `def` endpoint's thread cannot be stopped, as no thread can: its answer is dropped, its place in anyio's pool is
    free for the next although it runs on, and `hasten.resilience.expired()` is true in it from then on, so that a loop
    in it can end, and calls that it makes are refused. Background tasks, which run behind the response, are let be.

    Overload: what the limiter has no room for is answered with 503 and Retry-After. Under `hasten.http.HttpProtocol`
    (`hasten run`) a GET is refused before it is parsed, at 10 µs of CPU of which its system calls are 7; anything else
    before a task is made for it, at 18. Under other servers the refusal is the layer's, and the client's going is seen
    behind the request's body.

    `DeadlineExceeded` and `Refused` that the app raises are answered with 504 and 503. Problems are
    application/problem+json. Trace and id of the caller (`traceparent`, `x-request-id`) are carried along as
    `hasten.install` does it, where that has not. Under `HttpProtocol` a request costs 5 µs more, 2 of them for its
    deadline; elsewhere a task that looks for its client costs 15 more.

    Args:
      limiter: None bounds nothing.
      timeout: Seconds; `math.inf` for none.
      rules: For paths that differ; those of health and metrics are exempt unless a rule says something else.
      priority_field: A request field that may say high, normal or low, where all who can send it may say so.
    Raises:
      ConfigurationError: one of these is wrong.
    Cancellation: of the task by others passes.
    Source: RFC 9457 for problems, RFC 9110 section 10.2.3 for Retry-After.
    """

    def __init__(
        self,
        app: App,
        *,
        limiter: Limiter | None = None,
        timeout: float = 30.0,
        rules: Iterable[EdgeRule] = (),
        priority_field: str | None = None,
    ) -> None:
        self._app = app
        self._gate = Gate(limiter=limiter, rules=rules, timeout=timeout, priority_field=priority_field)

    @property
    def app(self) -> App:
        """The app behind it."""
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app for one connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan" and "state" in scope:
                scope["state"].setdefault(GATE, self._gate)
            await self._app(scope, receive, send)
            return
        under_way = scope.pop(UNDER_WAY, None)
        if under_way is None:
            await self._run_elsewhere(scope, receive, send)
            return
        await self._run(under_way, scope, receive, send)

    async def _run(self, under_way: UnderWay, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app within the request's deadline, and answer what stands in its place."""
        under_way.begun = monotonic()
        seconds = time_allowed(under_way.rule, self._gate, scope["headers"])
        outer = AMBIENT.get()
        if outer is None:
            AMBIENT.set(Incoming.of(scope["headers"]))
        try:
            if seconds == inf:
                await self._app(scope, receive, send)
            else:
                under_way.deadline = deadline = deadline_at(under_way.came + seconds)
                async with deadline:
                    await self._app(scope, receive, send)
            return
        except DeadlineExceeded:
            under_way.abandoned()
            problem = TOO_LATE
        except Refused as refused:
            problem = Problem(503, str(refused), max(refused.retry_after, 1.0))
        except CancelledError:
            if not under_way.gone or under_way.task is None:
                raise
            under_way.task.uncancel()
            if not under_way.started:
                await answer_nobody(send)
            return
        finally:
            AMBIENT.set(outer)
        if not under_way.started:  # else the server breaks the response off
            await problem(scope, receive, send)

    async def _run_elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app under a server whose protocol knows nothing of the edge."""
        gate = self._gate
        rule = gate.rule_of(scope)
        if not rule.exempt and not gate.admits(rule, scope["headers"]):
            await gate.refusal()(scope, receive, send)
            return
        messages = Elsewhere(scope, receive, send)
        under_way = UnderWay(rule, None if rule.exempt else gate.limiter, messages)
        messages.begin(under_way)
        try:
            await self._run(under_way, scope, messages.receive, messages.send)
        finally:
            messages.end()
            under_way.ended()

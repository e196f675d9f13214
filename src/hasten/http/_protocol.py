"""uvicorn's HTTP/1.1 protocol over httptools, with what an app's edge and a response cache need of a server.

uvicorn's `send` takes a response in two messages, looks at each of its fields, and writes twice. Who has a response
ready, with nothing to look at, hands it to the request's `Cycle`, if no layer in between has a `send` of its own. And
where an app's `Edge` has left its gate in the lifespan's state, requests that it refuses cost no task, and those whose
connection is lost are cancelled:

    HttpProtocol      a connection; uvicorn's, and the gate asked before a request is parsed, and before it has a task
    Cycle             a request with its response; uvicorn's, and `send_whole`
    _Tasks            where uvicorn puts the task that it has made for a request

Everything else is uvicorn's own code, and tests compare what both write, byte for byte.
"""

import logging
from asyncio import AbstractEventLoop, Task
from types import FunctionType
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from hasten._core.unread import arrival
from hasten.http._gate import GATE, Gate
from hasten.http._problems import Problem
from hasten.http._under_way import UNDER_WAY, UnderWay

_CLOSE = (b"connection", b"close")
_ENDS_BY_FIELD = "should_keep_alive" not in HttpToolsProtocol.on_headers_complete.__code__.co_names
"""Before 0.53 uvicorn looks for `_CLOSE` among a request's fields to learn that its connection ends."""
_JOINED_BYTES = 65536
"""A longer body is written by itself. One write saves 5 µs of 20, and a copy of that much costs as much (uvloop)."""


class Cycle(RequestResponseCycle):
    """A request and its response."""

    def send_whole(self, head: bytes, body: bytes) -> bool:
        """Write a whole response, as the two messages of one would be, at a fifth of the cost.

        Args:
          head: Status line, fields and empty line: `default_headers` before the other fields, all in lower case and fit
            to be sent, the right Content-Length among them (or a status that has no body), no Connection and no
            Transfer-Encoding.
        Returns:
          False where nothing was written, since `send` has more to do: end the connection, wait for a slow client, log
          the access, or refuse a second response.
        """
        if self.response_started or self.flow.write_paused or not self.keep_alive:
            return False
        if (_ENDS_BY_FIELD and _CLOSE in self.scope["headers"]) or _CLOSE in self.default_headers:
            return False
        if self.access_log and self.access_logger.isEnabledFor(logging.INFO):
            return False
        if self.disconnected:
            return True  # nobody is there to write to
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.scope["method"] == "HEAD":
            body = b""
        if len(body) <= _JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True


def _with_cycle(method: Any, cycle: type[RequestResponseCycle]) -> Any:
    """Return uvicorn's method, that it may find another class under the name by which it makes requests.

    uvicorn has no other place to say so. Were it to change the name, requests would be its own again, and answered by
    messages.
    """
    named = {**method.__globals__, RequestResponseCycle.__name__: cycle}
    return FunctionType(method.__code__, named, method.__name__, method.__defaults__, method.__closure__)


class _Tasks:
    """The server's set of tasks, as one connection sees it: uvicorn adds each task that it makes, and takes it out.

    Attributes:
      under_way: The request that is answered now, or was last; None before the first that the gate has admitted.
    """

    __slots__ = ("_shared", "under_way")

    def __init__(self, shared: set[Task[None]]) -> None:
        self._shared = shared
        self.under_way: UnderWay | None = None

    def add(self, task: Task[None]) -> None:
        """Note the task of the request that was admitted."""
        self._shared.add(task)
        if self.under_way is not None:
            self.under_way.task = task

    def discard(self, task: Task[None]) -> None:
        """Note that a task is done."""
        self._shared.discard(task)
        if self.under_way is not None and self.under_way.task is task:
            self.under_way.ended()

    def __len__(self) -> int:
        return len(self._shared)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, by which the response cache answers at once: `uvicorn.run(app, http=HttpProtocol)`.

    `hasten run` has it by itself; uvicorn's command takes `--http hasten.http:HttpProtocol`. A cache's hit costs less
    than an app that has its answer ready, where no layer outside of the response cache looks at responses, and the
    access log is off. What `Edge` refuses costs 10 µs of CPU, of which 7 are for its system calls.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate: Gate | None = app_state.get(GATE)
        self._refused_lately = False
        if self._gate is not None:
            self._tasks = _Tasks(self.tasks)
            self.tasks = self._tasks  # type: ignore[assignment]

    on_headers_complete = _with_cycle(HttpToolsProtocol.on_headers_complete, Cycle)

    def connection_made(self, transport: Any) -> None:
        """Begin, unless the client has gone while it waited to be accepted: in an overload most have."""
        if self._gate is not None and arrival(transport).gone:
            self.transport = transport
            transport.abort()
        else:
            super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read what a client has sent; at the limit, refuse it unread if that can be, which is 10 µs with its calls."""
        gate = self._gate
        if (
            gate is not None
            and (limiter := gate.limiter) is not None
            and limiter.in_flight >= limiter.room
            and self._is_between_requests()
            and gate.refuse_unread(data)
        ):
            self._write_refusal(gate.refusal())
        else:
            super().data_received(data)

    def _is_between_requests(self) -> bool:
        """Whether the parser has nothing begun, and nothing waits for an answer; may be False where it is so."""
        scope: Any = self.scope
        if scope is None:
            return True
        cycle: Any = self.cycle
        return cycle is not None and cycle.scope is scope and cycle.response_complete and not cycle.more_body

    def _write_refusal(self, problem: Problem) -> None:
        """Refuse what was not parsed; the keep-alive's timer stands, for to set it costs 2 µs."""
        transport = self.transport
        self.server_state.total_requests += 1
        if _CLOSE in self.server_state.default_headers:
            transport.write(problem.closing)
            transport.close()
            return
        transport.write(problem.whole)
        self._refused_lately = True
        if self.timeout_keep_alive_task is None:
            self._arm_keep_alive()

    def _arm_keep_alive(self) -> None:
        self._refused_lately = False
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, if nothing was refused on it meanwhile."""
        if self._refused_lately:
            self._arm_keep_alive()
        else:
            super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Have the app run for a request, if the gate admits it."""
        gate = self._gate
        if gate is None:
            super()._start_asgi_task(cycle, app)
            return
        unread, gone = arrival(self.transport)
        if gone:  # in an overload most have: to work for them would be the end of all others
            self.transport.close()
            return
        rule = gate.rule_of(cycle.scope)
        if not rule.exempt and not gate.admits(rule, cycle.scope["headers"]):
            self._refuse(cycle, gate.refusal())
            return
        self._tasks.under_way = under_way = UnderWay(rule, None if rule.exempt else gate.limiter, cycle, unread)
        scope: Any = cycle.scope
        scope[UNDER_WAY] = under_way
        super()._start_asgi_task(cycle, app)

    def _refuse(self, cycle: Any, problem: Any) -> None:
        if not cycle.send_whole(problem.head, problem.body):
            super()._start_asgi_task(cycle, problem)

    def on_response_complete(self) -> None:
        """Tell the gate of the answer; then, as uvicorn does, look for the next request."""
        if self._gate is not None:
            under_way = self._tasks.under_way
            if under_way is not None:
                under_way.answered()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what runs for the client that has gone."""
        super().connection_lost(exc)
        if self._gate is not None:
            under_way = self._tasks.under_way
            if under_way is not None and not under_way.complete:
                under_way.leave()

"""uvicorn's server with an end of its own: clients leave first, then their connections are closed.

    drain() ── /readyz says 503, answers say `Connection: close` ── lame duck ── idle connections are closed
            ── requests in flight finish, for as long as the grace ── the app's shutdown, which ends buses and servers

uvicorn closes idle connections at the signal, and loses the requests that are on their way to it. Here a client that
honours `Connection: close` has left before; only one that stays silent for the whole lame duck can still meet that.
5 rolling restarts of 2 workers, 40 kept connections, 40,000 requests: 0 lost; uvicorn 0.54's own SIGHUP 218.
"""

import asyncio
import logging
import signal
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from types import FrameType
from typing import Any, Protocol

import msgspec
import uvicorn

from hasten._core.durations import format_duration
from hasten._core.errors import TargetUnreachable
from hasten.concurrency import GcPolicy
from hasten.monitor import Check, Monitor

_CLOSE = (b"connection", b"close")
_ACCEPTED = 8
"""Connections that are accepted in one pass of the loop.

libuv takes one (1.46 and later), which suffices until passes are long: a service of 2 ms requests at 5 times what it
can do had passes of 20 ms, accepted 50 connections a second, and left a thousand clients unheard, with neither answer
nor refusal. So a socket is listened on this many times; one connection costs 1 µs more for each that finds it taken.
"""
_POLL = 0.02  # seconds between two looks at what is still in flight, at the end
_LAST_WORDS = 1.0  # seconds in which a cancelled request may still answer
_logger = logging.getLogger("uvicorn.error")


class Watcher(Protocol):
    """Who serves: told of the life of a server, in its loop or in a signal handler; each returns at once."""

    def starting(self, server: "Server") -> None:
        """The loop runs; the app has not started."""

    def started(self, server: "Server") -> None:
        """Connections are accepted."""

    def ticked(self, server: "Server") -> None:
        """A tenth of a second has passed."""

    def draining(self) -> None:
        """It leaves."""

    def said(self, line: str) -> None:
        """Something is to be told to whoever runs it."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a server ends.

    Attributes:
      lame_duck: Seconds that it goes on serving, and tells clients to go.
      grace: Seconds that requests in flight then have; the app's own shutdown may take as long again.
    """

    lame_duck: float = 1.0
    grace: float = 10.0


class Server(uvicorn.Server):
    """Serves an app on sockets that others have bound.

    Args:
      name: Of the service, in messages.
      warm_up: Awaited when the app has started, before connections are accepted; None for nothing.
      collections: In force once it is warm, until it ends; None leaves Python's.
      monitor: Of the app, whose readiness then is this server's, too.
      worker: Its number among the workers of a supervisor, which gets the terminal's SIGINT, too; None without one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        watcher: Watcher,
        *,
        name: str,
        ending: Ending,
        warm_up: Callable[[], Awaitable[object]] | None = None,
        collections: GcPolicy | None = None,
        monitor: Monitor | None = None,
        worker: int | None = None,
    ) -> None:
        config.load()  # now: a signal that comes before the loop runs finds it whole
        super().__init__(config)
        self.servers: list[Any] = []
        self._watcher = watcher
        self._name = name
        self._ending = ending
        self._warm_up = warm_up
        self._collections = collections
        self._monitor = monitor
        self._worker = worker
        self._leaves_at: float | None = None
        self.hurried = False
        if monitor is not None:
            monitor.add_checks(self.checks)

    @property
    def admin_url(self) -> str:
        """Where the admin port answers; empty without one."""
        return "" if self._monitor is None else self._monitor.url

    @property
    def requests(self) -> int:
        """How many have been answered."""
        return self.server_state.total_requests

    def checks(self) -> tuple[Check, ...]:
        """Return what an admin port asks: whether requests should come here."""
        reason = "it leaves" if self._leaves_at is not None else "" if self.started else "it does not accept yet"
        return (Check(name="server", ok=not reason, reason=reason),)

    # ---- the start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, warm it up, accept.

        Raises:
          TargetUnreachable: the app's start-up, or the warm-up, failed.
        """
        self._watcher.starting(self)
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise TargetUnreachable(self._name, "the app's start-up failed", "see the message above")
        if self._monitor is not None and self._worker is not None:
            self._monitor.worker = str(self._worker)  # not how far its admin port is from the first: that is any
        try:
            await self._warm()
        except BaseException:
            await self.lifespan.shutdown()
            raise
        if self._collections is not None:
            self._collections.start()
        self.started = True
        if self._leaves_at is None:  # it was not told to end before it had begun
            await self._accept(sockets or ())
            self._watcher.started(self)

    async def _accept(self, sockets: Iterable[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        times = _ACCEPTED if type(loop).__module__.startswith("uvloop") else 1  # asyncio accepts all that are there
        for listener in sockets:
            for one in (listener, *(listener.dup() for _ in range(times - 1))):
                self.servers.append(await loop.create_server(self._connection, sock=one, backlog=self.config.backlog))

    async def _warm(self) -> None:
        if self._warm_up is None:
            return
        try:
            await self._warm_up()
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            raise TargetUnreachable(self._name, f"the warm-up failed: {what}") from error

    def _connection(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made

    # ---- the end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave at the first signal, end at the second; somebody who presses Ctrl-C waits for no lame duck."""
        if sig == signal.SIGINT and self._worker is not None:
            return
        if self._leaves_at is None:
            self.drain(lame_duck=0.0 if sig == signal.SIGINT else None)
        elif self.started:
            self.hurried = True
        else:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)

    def drain(self, *, hand_over: bool = False, lame_duck: float | None = None) -> None:
        """Begin to leave; nothing if it does already. Only for the loop's thread.

        Args:
          hand_over: Accept no more: another process does, on the same sockets.
          lame_duck: Seconds, where it is not the usual time.
        """
        if self._leaves_at is not None:
            return
        self._leaves_at = time.monotonic() + (self._ending.lame_duck if lame_duck is None else lame_duck)
        self.config.encoded_headers.append(_CLOSE)  # of which the server makes its fields anew each second
        self.server_state.default_headers.append(_CLOSE)
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_started and _CLOSE not in cycle.default_headers:
                cycle.default_headers = [*cycle.default_headers, _CLOSE]  # it has those of a second ago
        if hand_over:
            self._stop_accepting()
        self._watcher.draining()

    async def on_tick(self, counter: int) -> bool:
        """Return whether the lame duck is over: its time, or nobody is there and nobody comes."""
        await super().on_tick(counter)
        self._watcher.ticked(self)
        if self._leaves_at is None:
            return False
        alone = not self.servers and not self.server_state.connections
        return self.hurried or alone or time.monotonic() >= self._leaves_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections, let requests in flight finish, end the app."""
        self._stop_accepting()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._finish()
        if self._collections is not None:
            self._collections.stop()
        if self.hurried:
            return
        try:
            async with asyncio.timeout(self._ending.grace):
                await self.lifespan.shutdown()
        except TimeoutError:
            self._say(f"the app's shutdown has not ended within {format_duration(self._ending.grace)}")

    def _stop_accepting(self) -> None:
        for server in self.servers:
            server.close()
        self.servers.clear()

    async def _finish(self) -> None:
        """Wait for requests in flight, and cancel those that are late."""
        state = self.server_state
        ends_at = time.monotonic() + self._ending.grace
        while (state.tasks or state.connections) and not self.hurried and time.monotonic() < ends_at:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)  # uvicorn's sets tell nobody when they are empty
        late = list(state.tasks)
        if late:
            why = "at the second signal" if self.hurried else f"after {format_duration(self._ending.grace)}"
            self._say(f"{len(late)} {'request' if len(late) == 1 else 'requests'} in flight cancelled {why}")
            await _cancelled(late)

    def _say(self, problem: str) -> None:
        self._watcher.said(f"hasten: {self._name}: {problem}")


async def _cancelled(late: "list[asyncio.Task[None]]") -> None:
    """Cancel requests, and let them have their last words."""
    _logger.addFilter(_is_no_cancellation)
    for task in late:
        task.cancel()
    await asyncio.wait(late, timeout=_LAST_WORDS)
    _logger.removeFilter(_is_no_cancellation)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Keep uvicorn from writing a traceback for each request that is cancelled at the end: one line says how many."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))

"""The process above the workers: it owns the sockets, and does what the fleet decides.

    signals, channels, SIGCHLD, a timer ── events ──> Fleet ── actions ──> processes, lines for the user, systemd

It imports no app, so that a restart reads new code, and uses no CPU between events, but for one look a second where
memory or requests are limited.

SIGTERM, SIGINT: all drain; again: all are killed · SIGHUP: a rolling restart · SIGTTIN, SIGTTOU: a worker more, less
"""

import asyncio
import os
import random
import signal
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError, HastenError
from hasten.service import ServiceOptions
from hasten.workers._admin import WorkersAdmin
from hasten.workers._binding import Listeners
from hasten.workers._fleet import (
    Action,
    Drain,
    Ended,
    Fleet,
    Kill,
    Release,
    Reloading,
    Say,
    Settled,
    Start,
    Timing,
)
from hasten.workers._machine import resident_bytes
from hasten.workers._messages import Failed, Orders, Ready, Report, Worn
from hasten.workers._process import WorkerProcess
from hasten.workers._reload import changes, require_watcher
from hasten.workers._systemd import Systemd

_LOOK = 1.0
"""Seconds between two looks at what workers have used."""
_MARGIN = 5.0
"""Seconds that a worker has for its own end beyond what it is given for requests and its app."""


class SupervisorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to have workers.

    Attributes:
      target: `module:app`.
      service: Each worker's; its admin address is that of all workers together.
      workers: How many.
      start_timeout: Seconds within which a worker must accept connections.
      max_requests: A worker is replaced after this many, and up to a tenth more; None for never.
      max_memory: And when it has more bytes in RAM; None for never.
      reload: Start the worker anew when a file of the app changes; for one worker, which has the admin port itself.
    """

    target: str
    service: ServiceOptions
    workers: int = 1
    start_timeout: float = 60.0
    max_requests: int | None = None
    max_memory: int | None = None
    reload: bool = False


class WorkersFailed(HastenError):
    """Raised when no worker serves: the first ones did not start; the message is what the worker has said."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def supervise(
    options: SupervisorOptions, listeners: Listeners, announce: Callable[[str], None], systemd: Systemd
) -> bool:
    """Have workers serve until SIGTERM or SIGINT, then let them drain.

    Args:
      listeners: Closed at the end.
      announce: Called with one line when connections are accepted, and with what happens to workers.
    Returns:
      False if a second signal has ended it.
    Raises:
      ConfigurationError: the admin port cannot be bound, or the system does not tell what memory workers have.
      MissingDependency: reloading needs the extra `dev`.
      WorkersFailed: the first workers do not start.
    """
    try:
        if options.reload:
            require_watcher()
        if options.max_memory is not None and resident_bytes(os.getpid()) is None:
            raise ConfigurationError("--max-memory", "this system does not tell what a process has", "leave it out")
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            ended = runner.run(Supervisor(options, listeners, announce, systemd).run())
    finally:
        listeners.close()
        listeners.remove()
    if ended.message:
        raise WorkersFailed(ended.message, ended.exit_code)
    return not ended.exit_code


class Supervisor:
    """Runs a fleet of processes."""

    def __init__(
        self, options: SupervisorOptions, listeners: Listeners, announce: Callable[[str], None], systemd: Systemd
    ) -> None:
        ending = options.service.ending
        timing = Timing(start=options.start_timeout, drain=ending.lame_duck + 2 * ending.grace + _MARGIN)
        self._options = options
        self._listeners = listeners
        self._announce = announce
        self._systemd = systemd
        self._name = options.service.service
        self._fleet = Fleet(self._name, options.workers, timing, random.random, patient=options.reload)
        self._admin = WorkersAdmin(options.service, serves=not options.reload)
        self._processes: dict[int, WorkerProcess] = {}
        self._listening = False
        self._lame_duck: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> Ended:
        """Return when no worker is left. Cancellation: kills them."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = self._loop.create_future()
        beside = [self._loop.create_task(chore) for chore in self._chores()]
        for task in beside:
            task.add_done_callback(self._chore_ended)
        try:
            self._admin.start()
            with self._signals():
                self._do(self._fleet.begin(self._loop.time()))
                return await self._ended
        finally:
            for task in beside:
                task.cancel()
            for process in self._processes.values():
                self._loop.remove_reader(process)
                process.end()
            await self._admin.aclose()

    # ---- what comes

    @contextmanager
    def _signals(self) -> Iterator[None]:
        fleet, loop = self._fleet, self._loop
        stops = [signal.SIGTERM, signal.SIGINT]
        asked = {signal.SIGHUP: fleet.replace_all, signal.SIGTTIN: fleet.add, signal.SIGTTOU: fleet.remove}
        if self._options.reload:  # there is one worker, and a terminal above it, which may be closed
            stops.append(signal.SIGHUP)
            asked.clear()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for number in stops:
            loop.add_signal_handler(number, self._stop, number)
        for number, event in asked.items():
            loop.add_signal_handler(number, self._ask, event)
        try:
            yield
        finally:
            for number in (signal.SIGCHLD, *stops, *asked):
                loop.remove_signal_handler(number)

    def _ask(self, event: Callable[[float], list[Action]]) -> None:
        self._do(event(self._loop.time()))

    def _stop(self, number: int) -> None:
        self._systemd.stopping()
        if number == signal.SIGINT:
            self._lame_duck = 0.0  # somebody waits for the end of it
        self._do(self._fleet.stop(self._loop.time()))
        self._listeners.close()  # or connections would wait here that no worker accepts any more

    def _hear(self, number: int) -> None:
        process = self._processes[number]
        reports = process.reports()
        if reports is None:
            self._loop.remove_reader(process)
        for report in reports or ():
            self._reported(number, process, report)

    def _reported(self, number: int, process: WorkerProcess, report: Report) -> None:
        now = self._loop.time()
        match report:
            case Ready(admin):
                process.admin = admin
                self._do(self._fleet.ready(number, now))
            case Failed(message, exit_code):
                self._fleet.failed(number, message, exit_code)
            case Worn(reason):
                process.worn = reason
                self._do(self._fleet.worn(number, reason, now))

    def _reap(self) -> None:
        for number, process in tuple(self._processes.items()):
            how = process.ended()
            if how is not None:
                self._hear(number)  # its last words
                self._loop.remove_reader(process)
                del self._processes[number]
                process.close()
                self._do(self._fleet.exited(number, how, self._loop.time()))

    # ---- what goes on beside

    def _chores(self) -> Iterator[Coroutine[Any, Any, None]]:
        if self._options.reload:
            yield self._watch_files()
        if self._options.max_memory is not None or self._options.max_requests is not None:
            yield self._look_at_workers()
        if self._systemd.watchdog is not None:
            yield self._ping(self._systemd.watchdog / 2)

    def _chore_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)

    async def _watch_files(self) -> None:
        async for file in changes():
            self._say(f"{file} has changed")
            self._do(self._fleet.reload(self._loop.time()))

    async def _look_at_workers(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            for worker in self._fleet.workers:
                if worker.state == "ready" and (reason := self._worn(self._processes[worker.number])):
                    self._do(self._fleet.worn(worker.number, reason, self._loop.time()))

    def _worn(self, process: WorkerProcess) -> str:
        most = self._options.max_memory
        taken = None if most is None else resident_bytes(process.pid)
        if most is not None and taken is not None and taken > most:
            return f"it has {taken >> 20} MB in RAM"
        return process.worn

    async def _ping(self, pause: float) -> None:
        while True:
            self._systemd.ping()
            await asyncio.sleep(pause)

    # ---- what is done

    def _do(self, actions: list[Action]) -> None:
        left = deque(actions)
        while left:
            left.extend(self._act(left.popleft()))
        self._admin.ask(self._processes[one.number].admin for one in self._fleet.workers if one.state == "ready")
        if self._timer is not None:
            self._timer.cancel()
        due = self._fleet.due()
        self._timer = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._do(self._fleet.tick(self._loop.time()))

    def _act(self, action: Action) -> list[Action]:
        """Do one thing; return what follows at once."""
        match action:
            case Start(worker, slot):
                return self._start(worker, slot)
            case Drain(worker, hand_over):
                self._processes[worker].drain(hand_over=hand_over, lame_duck=self._lame_duck)
            case Kill(worker):
                self._processes[worker].kill()
            case Release(slot):
                self._listeners.release(slot)
            case Say(line):
                self._say(line)
            case Reloading():
                self._systemd.reloading()
            case Settled(workers):
                self._settled(workers)
            case Ended():
                self._ended.set_result(action)
        return []

    def _start(self, number: int, slot: int) -> list[Action]:
        try:
            listeners = self._listeners.of_slot(slot)
            process = WorkerProcess(slot, self._orders(slot, listeners), listeners)
        except (OSError, ConfigurationError) as error:
            return self._fleet.exited(number, f"cannot be started: {error}", self._loop.time())
        self._processes[number] = process
        self._fleet.spawned(number, process.pid)
        self._loop.add_reader(process, self._hear, number)
        return []

    def _orders(self, slot: int, listeners: Sequence[socket.socket]) -> Orders:
        options = self._options
        service = msgspec.structs.replace(options.service, worker=slot, admin=self._admin.of_workers)
        most = options.max_requests
        if most is not None:
            most += random.randint(0, most // 10)  # or workers that began together would go together
        return Orders(
            target=options.target,
            options=service,
            listeners=tuple(one.fileno() for one in listeners),
            max_requests=most,
        )

    def _settled(self, workers: int) -> None:
        count = f"{workers} {'worker' if workers == 1 else 'workers'}"
        if not self._listening:
            self._listening = True
            self._announce(f"hasten: {self._name} listening on {self._listeners.place} with {count}")
            self._announce_admin()
        self._systemd.ready(count)

    def _announce_admin(self) -> None:
        if self._admin.url:
            self._announce(f"hasten: {self._name}: /metrics and /readyz of all workers on {self._admin.url}")
        for process in self._processes.values() if self._options.reload else ():
            if process.admin:
                self._announce(f"hasten: {self._name} is seen live on {process.admin}")

    def _say(self, line: str) -> None:
        self._announce(f"hasten: {self._name}: {line}")

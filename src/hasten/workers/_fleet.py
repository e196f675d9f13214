"""Which worker is started, drained or killed when: pure, events and the time come in, actions go out.

    begin ── the first worker; when it is ready, the others: a mistake in the app is told once, not by each
    a worker ends by itself ── another one in its slot: at once, then later and later while they do not last
    replace_all, worn ── one slot after another: a new worker; when it is ready, the old one drains; when that is gone,
                         the next. If the new one does not start, the old one stays.
    stop ── all drain; stop again ── all are killed

A slot has a worker that serves, and one beside it while it is replaced. The fleet knows processes by numbers of its
own; whoever runs it does what the actions say, and tells what comes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from hasten._core.durations import format_duration

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_UNREACHABLE = 3
_INTERRUPTED = 130


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Times of a fleet, in seconds.

    Attributes:
      start: Within which a worker must be ready.
      drain: Within which one that drains must have ended, or it is killed.
      steady: After which one that ends has lasted: its slot's next one starts at once.
    """

    start: float = 60.0
    drain: float = 26.0
    steady: float = 10.0


class Start(msgspec.Struct, frozen=True):
    """Start a process, and say by `spawned` which."""

    worker: int
    slot: int


class Drain(msgspec.Struct, frozen=True):
    """Tell a process to leave; others accept from its sockets already if it hands over."""

    worker: int
    hand_over: bool


class Kill(msgspec.Struct, frozen=True):
    """End a process now."""

    worker: int


class Release(msgspec.Struct, frozen=True):
    """Close a slot's sockets: there is no such slot any more, or nobody in it for a while."""

    slot: int


class Say(msgspec.Struct, frozen=True):
    """Tell the user a line."""

    line: str


class Reloading(msgspec.Struct, frozen=True):
    """Tell whoever looks after the service that all workers are being replaced."""


class Settled(msgspec.Struct, frozen=True):
    """Tell that all workers are there which are to be: after the start, and after a restart."""

    workers: int


class Ended(msgspec.Struct, frozen=True):
    """No process is left; a message is an error's."""

    exit_code: int = 0
    message: str = ""


Action: TypeAlias = Start | Drain | Kill | Release | Say | Reloading | Settled | Ended
State = Literal["starting", "ready", "draining", "killed"]
Phase = Literal["starting", "running", "stopping"]


@dataclass(slots=True)
class Worker:
    """A process.

    Attributes:
      since: When its state began.
      failure: What it has said that keeps it from serving.
    """

    number: int
    slot: int
    since: float
    state: State = "starting"
    pid: int = 0
    failure: str = ""
    exit_code: int = _UNREACHABLE


@dataclass(slots=True)
class Slot:
    """A place for a worker.

    Attributes:
      serving: The number of the worker that serves or is to; None while there is none.
      beside: That of the one that is to replace it.
      failures: How many in a row have not lasted.
      since: When the one that serves was ready, or one beside it last failed.
      restart_at: When the next one starts; None if none is to.
    """

    serving: int | None = None
    beside: int | None = None
    failures: int = 0
    since: float = 0.0
    restart_at: float | None = None


@dataclass(slots=True)
class _Renewal:
    """What is being replaced.

    Attributes:
      waiting: Workers in the order in which they are replaced.
      told: Whether all are, by request: its end is told.
    """

    waiting: list[int] = field(default_factory=list)
    told: bool = False


class Fleet:
    """The workers of a service, as they are to be.

    Args:
      name: Of the service, in errors.
      size: How many.
      jitter: Returns a number from 0 to 1, for pauses that workers of several machines do not make at the same time.
      patient: A worker that does not start ends nothing: another one is started by `reload`, as in development.
    """

    def __init__(
        self, name: str, size: int, timing: Timing, jitter: Callable[[], float], *, patient: bool = False
    ) -> None:
        self._name = name
        self._timing = timing
        self._jitter = jitter
        self._patient = patient
        self._slots = {number: Slot() for number in range(size)}
        self._workers: dict[int, Worker] = {}
        self._renewal = _Renewal()
        self._phase: Phase = "starting"
        self._last = Ended()
        self._next_number = 0

    @property
    def size(self) -> int:
        """How many workers there are to be."""
        return len(self._slots)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The processes that there are, in the order of their starts."""
        return tuple(self._workers.values())

    # ---- events: what is wanted

    def begin(self, now: float) -> list[Action]:
        """Start."""
        return [self._start(0, now)]

    def replace_all(self, now: float) -> list[Action]:
        """Replace every worker that there is, also those that start: with code that is read from now on."""
        if self._phase == "stopping":
            return []
        there = (number for slot in self._slots.values() for number in (slot.serving, slot.beside))
        self._renewal = _Renewal([number for number in there if number is not None], told=True)
        return [Reloading(), *self._advance(now)]

    def worn(self, number: int, reason: str, now: float) -> list[Action]:
        """Replace a worker, if it is to be; one that wears out too soon after the last waits, and is told again."""
        worker = self._workers.get(number)
        if worker is None or worker.state != "ready" or self._phase != "running" or number in self._renewal.waiting:
            return []
        slot = self._slots.get(worker.slot)
        if slot is None or slot.serving != number or slot.beside is not None:
            return []
        if now - slot.since >= self._timing.steady:
            slot.failures = 0
        if now < slot.since + self._pause(slot):
            return []
        slot.failures += 1
        self._renewal.waiting.append(number)
        return [Say(f"worker {worker.pid} is replaced: {reason}"), *self._advance(now)]

    def add(self, now: float) -> list[Action]:
        """Have a worker more."""
        if self._phase != "running":
            return []
        number = next(slot for slot in range(len(self._slots) + 1) if slot not in self._slots)
        self._slots[number] = Slot()
        return [self._start(number, now), Say(self._count())]

    def remove(self, now: float) -> list[Action]:
        """Have one less, but one."""
        if self._phase != "running" or len(self._slots) == 1:
            return []
        number, slot = max(self._slots.items())
        del self._slots[number]
        actions: list[Action] = [Release(number)]
        for one in (slot.serving, slot.beside):
            if one is not None:
                actions += self._leave(one, now)
        return [*actions, Say(self._count()), *self._advance(now)]

    def reload(self, now: float) -> list[Action]:
        """End the workers, and start others when they are gone: requests wait meanwhile."""
        if self._phase == "stopping":
            return []
        actions: list[Action] = []
        for number, slot in self._slots.items():
            slot.restart_at = now
            if slot.serving is None:
                actions.append(self._start(number, now))
            else:
                actions += self._leave(slot.serving, now, hand_over=True)
        return actions

    def stop(self, now: float) -> list[Action]:
        """Drain all workers; kill them if that is under way."""
        if self._phase == "stopping":
            self._last = Ended(self._last.exit_code or _INTERRUPTED, self._last.message)
            return self._kill_all(now)
        return self._finish(Ended(), now)

    # ---- events: what has come of it

    def spawned(self, number: int, pid: int) -> None:
        """Note the process of a worker."""
        self._workers[number].pid = pid

    def ready(self, number: int, now: float) -> list[Action]:
        """A worker accepts connections."""
        worker = self._workers.get(number)
        slot = None if worker is None else self._slots.get(worker.slot)
        if worker is None or slot is None or worker.state != "starting" or self._phase == "stopping":
            return []
        worker.state, worker.since, slot.since = "ready", now, now
        actions: list[Action] = []
        if slot.beside == number:
            old = slot.serving
            slot.serving, slot.beside = number, None
            if old is not None:
                actions.append(Say(f"worker {worker.pid} takes the place of {self._workers[old].pid}"))
                actions += self._leave(old, now, hand_over=True)
        if self._phase == "starting":
            actions += self._started(now)
        return [*actions, *self._advance(now)]

    def failed(self, number: int, message: str, exit_code: int) -> None:
        """A worker has said why it will end before it serves."""
        worker = self._workers.get(number)
        if worker is not None:
            worker.failure, worker.exit_code = message, exit_code

    def exited(self, number: int, how: str, now: float) -> list[Action]:
        """A process has ended.

        Args:
          how: `was ended by SIGKILL`.
        """
        worker = self._workers.pop(number)
        if self._phase == "stopping":
            return self._ended_if_none()
        slot = self._slots.get(worker.slot)
        actions: list[Action] = []
        if slot is not None and slot.beside == number:
            slot.beside = None
            actions = self._replacement_lost(worker, slot, how, now)
        elif slot is not None and slot.serving == number:
            slot.serving, slot.beside = slot.beside, None
            actions = self._lost(worker, slot, how, now)
        return [*actions, *self._advance(now)]

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        actions: list[Action] = []
        for worker in self.workers:
            if worker.state == "starting" and now >= worker.since + self._timing.start:
                worker.failure = f"{self._name}: not ready within {format_duration(self._timing.start)}"
                actions.append(self._kill(worker, now))
            elif worker.state == "draining" and now >= worker.since + self._timing.drain:
                late = format_duration(self._timing.drain)
                actions += [
                    Say(f"worker {worker.pid} has not ended within {late}: it is killed"),
                    self._kill(worker, now),
                ]
        if self._phase != "stopping":
            for number, slot in self._slots.items():
                if slot.serving is None and slot.restart_at is not None and now >= slot.restart_at:
                    actions.append(self._start(number, now))
        return actions

    def due(self) -> float | None:
        """Return when `tick` has something to do next; None for never."""
        times = [worker.since + self._timing.start for worker in self.workers if worker.state == "starting"]
        times += [worker.since + self._timing.drain for worker in self.workers if worker.state == "draining"]
        if self._phase != "stopping":
            waiting = (slot.restart_at for slot in self._slots.values() if slot.serving is None)
            times += [at for at in waiting if at is not None]
        return min(times, default=None)

    # ---- what follows

    def _start(self, slot: int, now: float) -> Action:
        number = self._next_number
        self._next_number += 1
        self._workers[number] = Worker(number, slot, now)
        place = self._slots[slot]
        place.restart_at = None
        if place.serving is None:
            place.serving = number
        else:
            place.beside = number
        return Start(number, slot)

    def _started(self, now: float) -> list[Action]:
        """One of the first workers is ready: start the others, or tell that all are there."""
        actions: list[Action] = [
            self._start(number, now)
            for number, slot in self._slots.items()
            if slot.serving is None and slot.restart_at is None
        ]
        if all(self._is_ready(slot) for slot in self._slots.values()):
            self._phase = "running"
            actions.append(Settled(len(self._slots)))
        return actions

    def _is_ready(self, slot: Slot) -> bool:
        return slot.serving is not None and self._workers[slot.serving].state == "ready"

    def _advance(self, now: float) -> list[Action]:
        """Replace the next worker, if none is being replaced."""
        if self._phase != "running" or any(slot.beside is not None for slot in self._slots.values()):
            return []
        if any(worker.state in {"draining", "killed"} for worker in self.workers):
            return []
        renewal = self._renewal
        while renewal.waiting:
            worker = self._workers.get(renewal.waiting.pop(0))
            slot = None if worker is None else self._slots.get(worker.slot)
            if worker is None or slot is None or slot.serving != worker.number:  # it has ended, or leaves
                continue
            return [self._start(worker.slot, now)]
        if not renewal.told or not all(self._is_ready(slot) for slot in self._slots.values()):
            return []
        renewal.told = False
        return [Say(f"restarted: {self._count()}"), Settled(len(self._slots))]

    def _replacement_lost(self, worker: Worker, slot: Slot, how: str, now: float) -> list[Action]:
        """A new worker has not started: the old one stays, and so do those that were to be replaced after it."""
        slot.since = now
        kept = f"worker {self._workers[slot.serving].pid} stays" if slot.serving is not None else "none is left"
        actions: list[Action] = [Say(f"the new worker {worker.pid} does not start: {_why(worker, how)}; {kept}")]
        if self._renewal.told:
            actions.append(Settled(len(self._slots)))
        self._renewal = _Renewal()
        return actions

    def _lost(self, worker: Worker, slot: Slot, how: str, now: float) -> list[Action]:
        """The worker that served has ended, or the one that was to."""
        if slot.serving is not None:  # the one beside it comes
            return [Say(f"worker {worker.pid} {how}; another one starts already")]
        if worker.state in {"draining", "killed"} and slot.restart_at is not None:
            return [self._start(worker.slot, now)]  # a reload
        if worker.state != "ready":
            return self._not_started(worker, slot, how, now)
        if now - worker.since >= self._timing.steady:
            slot.failures = 0
        return self._restart(worker, slot, how, now)

    def _not_started(self, worker: Worker, slot: Slot, how: str, now: float) -> list[Action]:
        if self._patient:
            return [Say(f"{_why(worker, how)}; waits for a change")]
        if self._phase == "starting":
            message = worker.failure or f"{self._name}: worker {worker.pid} {how} before it was ready"
            return self._finish(Ended(worker.exit_code, message), now)
        return self._restart(worker, slot, _why(worker, how), now)

    def _restart(self, worker: Worker, slot: Slot, how: str, now: float) -> list[Action]:
        """Have another one start: at once, with what waits in its socket; or later, and others take what comes."""
        pause = self._pause(slot)
        slot.failures += 1
        slot.restart_at = now + pause
        if not pause:
            return [Say(f"worker {worker.pid} {how}; another one starts now")]
        line = Say(f"worker {worker.pid} {how}; another one starts in {format_duration(pause)}")
        others = any(self._is_ready(other) for other in self._slots.values())
        return [Release(worker.slot), line] if others else [line]

    def _pause(self, slot: Slot) -> float:
        """Return how long a slot waits for its next worker: not at all, then 0.5, 1, 2, ... 15 s, less up to a half."""
        if not slot.failures:
            return 0.0
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(slot.failures - 1, 16))
        return pause * (1.0 - self._jitter() / 2)

    def _leave(self, number: int, now: float, *, hand_over: bool = False) -> list[Action]:
        """Drain a worker that serves; one that only starts serves nobody."""
        worker = self._workers[number]
        if worker.state == "starting":
            return [self._kill(worker, now)]
        if worker.state != "ready":
            return []
        worker.state, worker.since = "draining", now
        return [Drain(number, hand_over)]

    def _kill(self, worker: Worker, now: float) -> Action:
        worker.state, worker.since = "killed", now
        return Kill(worker.number)

    def _kill_all(self, now: float) -> list[Action]:
        return [self._kill(worker, now) for worker in self.workers]

    def _finish(self, last: Ended, now: float) -> list[Action]:
        self._phase, self._last = "stopping", last
        actions = [action for worker in self.workers for action in self._leave(worker.number, now)]
        return [*actions, *self._ended_if_none()]

    def _ended_if_none(self) -> list[Action]:
        return [] if self._workers else [self._last]

    def _count(self) -> str:
        return f"{len(self._slots)} {'worker' if len(self._slots) == 1 else 'workers'}"


def _why(worker: Worker, how: str) -> str:
    return worker.failure or how

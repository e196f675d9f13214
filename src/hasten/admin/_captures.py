"""Captures of a process: asked for, or made by themselves, one at a time; in the admin thread's loop.

    POST /profile ──┐
    POST /alerts ───┤                    ┌─ running: a task
    a hold ─────────┼── start ── Desk ───┼─ done: in the store
    a quantile ─────┘                    └─ failed: remembered, with the reason

The admin thread sees a loop that is blocked while it is, so what blocks it is on the profile.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from hasten._core.signals import LedgerSignal, LoopHeld
from hasten.monitor import Monitor, Snapshot
from hasten.profiling import CaptureOptions, Desk, Profile, ProfileOptions
from hasten.profiling._store import Entry, ProfileStore, Trigger, default_folder, new_id
from hasten.profiling._triggers import WHEN_ASKED, Fired, Quantiles, Triggers, Webhook

_REMEMBERED = 20
_SHORTEST_LOOK = 0.1
_WORTH = 120.0
"""Seconds that an alert may wait for a capture that is under way; later, what it was about may be over."""
_logger = logging.getLogger("hasten.profiling")


class Refused(Exception):
    """Raised when no capture can begin now; whoever asks may do so again.

    Attributes:
      running: Id of the one that is under way; empty in the pause after the last one.
      retry_after: Seconds.
    """

    def __init__(self, reason: str, *, running: str = "", retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.running = running
        self.retry_after = retry_after


class Taken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a webhook; one of these.

    Attributes:
      capture: Id of the capture that has begun.
      deferred: Why it has not begun yet.
      ignored: Why there is none.
    """

    capture: str = ""
    deferred: str = ""
    ignored: str = ""


class Engines(Protocol):
    """Makes profiles of this process: `hasten.profiling.Desk`."""

    @property
    def retry_after(self) -> float:
        """Seconds until one may begin."""

    async def capture(self, options: CaptureOptions, labels: Mapping[str, str] = {}) -> Profile:
        """Return a profile, made as `options` say and with these labels. Cancellation: leaves nothing behind."""


class Captures:
    """Captures of one process.

    Args:
      monitor: Of the process.
      options: What is captured by itself, and where captures are kept.
      desk: Makes them.
      clock: Monotonic seconds.

    Attributes:
      armed: Whether what the process sees itself is a reason to capture: not while it starts.
    """

    def __init__(
        self,
        monitor: Monitor,
        options: ProfileOptions = WHEN_ASKED,
        *,
        desk: Engines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.armed = False
        self._monitor = monitor
        self._options = options
        self._desk: Engines = desk or Desk(monitor, pause=options.pause)
        folder = default_folder(monitor.service) if options.folder is None else Path(options.folder)
        self._store = ProfileStore(folder, keep=options.keep)
        self._triggers = Triggers(options, service=monitor.service, worker=monitor.worker)
        self._quantiles = Quantiles(monitor.objectives if options.p99 else ())
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._running: Entry | None = None
        self._ready_at = 0.0
        self._deferred: asyncio.TimerHandle | None = None
        self._failed: OrderedDict[str, Entry] = OrderedDict()

    # ---- what there is

    @property
    def service(self) -> str:
        """Whose captures these are."""
        return self._monitor.service

    @property
    def running(self) -> Entry | None:
        """The one that is under way."""
        return self._running

    def ready_in(self) -> float:
        """Return the seconds until the one that is under way will be done, about."""
        return max(0.0, self._ready_at - self._clock())

    async def entries(self) -> tuple[Entry, ...]:
        """Return all that are known, the newest first."""
        before = self._running
        kept = await asyncio.to_thread(self._store.entries)
        # One that has ended meanwhile is listed as it was; one whose file is there already runs until it has ended.
        each = (before, *kept, *self._failed.values(), self._running)
        found = {entry.id: entry for entry in each if entry is not None}
        return tuple([found[each] for each in sorted(found, reverse=True)])

    def unfinished(self, id: str) -> Entry | None:  # noqa: A002 - what everybody calls it
        """Return the entry of one that is under way or has failed; None for any other."""
        running = self._running
        return running if running is not None and running.id == id else self._failed.get(id)

    async def read(self, id: str) -> bytes | None:  # noqa: A002
        """Return a profile as JSON; None where there is none."""
        return await asyncio.to_thread(self._store.read, id)

    # ---- capturing

    def start(self, options: CaptureOptions, trigger: Trigger = "asked", labels: Mapping[str, str] = {}) -> Entry:
        """Begin a capture, as a task of the running loop, and return what it will be.

        Raises:
          Refused: one is under way, or the pause after the last one is not over.
        """
        self._refuse()
        started = time.time()
        entry = Entry(
            id=new_id(started),
            engine=options.engine,
            clock=options.clock,
            seconds=options.seconds,
            started=round(started, 3),
            state="running",
            trigger=trigger,
            labels=dict(labels),
            service=self._monitor.service,
            worker=self._monitor.worker,
        )
        self._running = entry
        self._ready_at = self._clock() + options.seconds
        self._task = asyncio.get_running_loop().create_task(self._capture(entry, options))
        return entry

    def _refuse(self) -> None:
        running = self._running
        if running is not None:
            raise Refused("a capture is under way", running=running.id, retry_after=self.ready_in() + 1.0)
        rest = self._desk.retry_after
        if rest > 0.0:
            raise Refused(f"the last capture is only just over; again in {rest:.1f} s", retry_after=rest)

    async def _capture(self, entry: Entry, options: CaptureOptions) -> None:
        try:
            profile = await self._desk.capture(options, {**entry.labels, "trigger": entry.trigger})
            seconds = round(profile.seconds, 3) or entry.seconds
            done = msgspec.structs.replace(entry, seconds=seconds)
            done = await asyncio.to_thread(self._store.save, done, profile)
            _logger.info("captured %s (%s, %s): %d bytes", done.id, done.engine, done.trigger, done.size_bytes)
        except asyncio.CancelledError:
            self._fail(entry, "the admin port has ended")
            raise
        except Exception as error:
            # Whatever goes wrong in an engine: the process and its admin port go on.
            self._fail(entry, str(error) or type(error).__name__)
            _logger.warning("capture %s (%s, %s) has failed: %s", entry.id, entry.engine, entry.trigger, error)
        finally:
            self._running = self._task = None

    def _fail(self, entry: Entry, reason: str) -> None:
        self._failed[entry.id] = msgspec.structs.replace(entry, state="failed", reason=reason)
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)

    # ---- by themselves

    def take_webhook(self, webhook: Webhook) -> Taken:
        """Begin a capture for what Alertmanager tells, behind the one that is under way if there is one.

        It would tell the alert again only in an hour.
        """
        now = self._clock()
        fired = self._triggers.of_webhook(webhook, now)
        if isinstance(fired, str):
            return Taken(ignored=fired)
        started = self._start_for(fired)
        if isinstance(started, Entry):
            return Taken(capture=started.id)
        if self._deferred is not None:
            return Taken(ignored=f"{started}, and another alert waits for its end")
        if not self._defer(fired, started, now + _WORTH):
            return Taken(ignored=str(started))
        self._triggers.begun(fired, now)
        return Taken(deferred=str(started))

    def _defer(self, fired: Fired, refused: Refused, until: float) -> bool:
        """Begin a capture when one may, and return whether that is soon enough to be worth it."""

        def again() -> None:
            self._deferred = None
            started = self._start_for(fired)
            if isinstance(started, Refused):
                self._defer(fired, started, until)

        wait = max(_SHORTEST_LOOK, refused.retry_after)
        if self._clock() + wait > until:
            return False
        self._deferred = asyncio.get_running_loop().call_later(wait, again)
        return True

    def take_snapshot(self, snapshot: Snapshot, clock: float) -> None:
        """Begin a capture if a snapshot shows that an objective is missed.

        Args:
          clock: Monotonic seconds when it was taken.
        """
        if self._quantiles and self.armed:
            fired = self._triggers.of_slow(self._quantiles.add(snapshot, clock), self._clock())
            if fired is not None:
                self._start_for(fired)

    async def run(self) -> None:
        """Watch the loop of the app, until cancelled; then a capture that is under way ends, too."""
        with self._noting_holds(asyncio.get_running_loop()):
            try:
                await self._watch_loop()
            finally:
                if self._deferred is not None:
                    self._deferred.cancel()
                if self._task is not None:
                    self._task.cancel()
                    await asyncio.gather(self._task, return_exceptions=True)

    async def _watch_loop(self) -> None:
        hold = self._options.hold
        if not hold:
            await asyncio.Event().wait()
        while True:
            rest = self._triggers.rests("hold", self._clock())
            await asyncio.sleep(max(_SHORTEST_LOOK, hold / 2, rest))
            blocked = self._monitor.runtime.blocked_for()
            if blocked >= hold:
                self._take_hold(blocked, self._monitor.blocked_at(), over=False)

    @contextmanager
    def _noting_holds(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Have the ledger tell of holds that are over, too: they may be too short to be seen while they last."""
        ledger, hold = self._monitor.ledger, self._options.hold

        def note(signal: LedgerSignal) -> None:  # in the app's loop
            if isinstance(signal, LoopHeld) and signal.seconds >= hold and not signal.preempted:
                with suppress(RuntimeError):  # the admin thread's loop has ended
                    loop.call_soon_threadsafe(lambda: self._take_hold(signal.seconds, signal.site, over=True))

        if ledger is None or not hold:
            yield
            return
        ledger.hooks.append(note)
        try:
            yield
        finally:
            ledger.hooks.remove(note)

    def _take_hold(self, seconds: float, site: str, *, over: bool) -> None:
        if self.armed:
            fired = self._triggers.of_hold(seconds, site, self._clock(), over=over)
            if fired is not None:
                self._start_for(fired)

    def _start_for(self, fired: Fired) -> Entry | Refused:
        try:
            entry = self.start(self._options.capture, fired.trigger, fired.labels)
        except Refused as refused:
            return refused
        self._triggers.begun(fired, self._clock())
        return entry

"""Whether a bus can do its work: what must hold for it, by name, and why it does not.

    bus                         it was started, and is not being left
    broker                      it answers, or has not for less than `stuck_after`
    consumer TOPIC GROUP        it is not stuck (`_progress`), one for each subscription

Who serves `/readyz` asks for these; a bus alone says in the log when one of them changes.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from typing import Protocol

import msgspec

from hasten.events._broker import Broker, Subscription
from hasten.events._progress import Progress

LOOK_EVERY = 1.0
"""Seconds between two looks whether the broker is there; more often for a `stuck_after` of less than 4 s."""
_logger = logging.getLogger("hasten.events")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold for a process to be ready.

    Attributes:
      name: `bus`, `broker`, `consumer orders.paid billing`; the same each time.
      ok: Whether it holds.
      reason: Why not, in one line; empty if it holds.
      topic, group: Of a consumer; empty for others.
      seconds: For how long the broker has been away, or nothing has come to an end; 0.0 if it holds.
      message_id: Of the message that the consumer is at for the longest time; empty if it holds.
    """

    name: str
    ok: bool = True
    reason: str = ""
    topic: str = ""
    group: str = ""
    seconds: float = 0.0
    message_id: str = ""


class Watched(Protocol):
    """A consumer, as far as it is watched."""

    subscription: Subscription
    progress: Progress


class Watch:
    """Watches a broker and consumers: one timer for all of them, in the loop that it is started in.

    Args:
      broker: Whose connection is watched.
      stuck_after: Seconds that it may be away.
    """

    def __init__(self, broker: Broker, stuck_after: float) -> None:
        self._broker = broker
        self._stuck_after = stuck_after
        self._consumers: tuple[Watched, ...] = ()
        self._away_since = math.inf  # by time.monotonic()
        self._told: set[str] = set()
        self._every = min(LOOK_EVERY, stuck_after / 4)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether the bus is."""
        return self._timer is not None

    def start(self, consumers: Iterable[Watched]) -> None:
        """Watch."""
        self._consumers = tuple(consumers)
        self._look()

    def stop(self) -> None:
        """Watch no more; nothing is ready any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def checks(self, now: float) -> tuple[Check, ...]:
        """Return what must hold, in any thread.

        Args:
          now: By `time.monotonic()`.
        """
        bus = Check(name="bus") if self.is_running else Check(name="bus", ok=False, reason="it does not run")
        return bus, self._broker_check(now), *(_consumer_check(each, now) for each in self._consumers)

    def note_connection(self, now: float) -> None:
        """Look whether the broker is there."""
        if self._broker.connected:
            self._away_since = math.inf
        elif self._away_since == math.inf:
            self._away_since = now

    def _broker_check(self, now: float) -> Check:
        seconds = now - self._away_since
        if seconds < self._stuck_after:
            return Check(name="broker")
        reason = f"{self._broker.name} has been away for {seconds:.0f} s"
        return Check(name="broker", ok=False, reason=reason, seconds=seconds)

    def _look(self) -> None:
        now = time.monotonic()
        self.note_connection(now)
        self._timer = asyncio.get_running_loop().call_later(self._every, self._look)
        for check in self.checks(now):
            self._log(check)

    def _log(self, check: Check) -> None:
        """Say once that something does not hold, and once that it does again."""
        if check.ok and check.name in self._told:
            self._told.discard(check.name)
            _logger.warning("%s: ready again", check.name)
        elif not check.ok and check.name not in self._told:
            self._told.add(check.name)
            _logger.error("%s: not ready: %s", check.name, check.reason)


def _consumer_check(consumer: Watched, now: float) -> Check:
    topic, group = consumer.subscription.topic, consumer.subscription.group
    name = f"consumer {topic} {group}"
    stuck = consumer.progress.stuck(now)
    if stuck is None:
        return Check(name=name, topic=topic, group=group)
    seconds, at_work = stuck
    oldest = at_work[0].envelope.id
    reason = f"at work on {len(at_work)}, and none has ended for {seconds:.0f} s; the oldest is {oldest}"
    return Check(name=name, ok=False, reason=reason, topic=topic, group=group, seconds=seconds, message_id=oldest)

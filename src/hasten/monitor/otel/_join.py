"""Puts spans and their accounts together: an account is made a moment after its request, call or message has ended."""

import math
import time
from collections.abc import Iterable, Iterator

import msgspec

from hasten._core.signals import EventPublished, HttpCallFinished
from hasten.ledger import Account
from hasten.monitor.otel._ledger import events_of
from hasten.monitor.otel._spans import Finished

_TURNS = 2
"""Sendings that a span waits for its account; a second or two, where an account takes 50 ms."""


class Join:
    """Spans that wait for their accounts."""

    def __init__(self) -> None:
        self._waiting: dict[float, tuple[Finished, int]] = {}  # by the account's `started`
        self._turn = 0
        self._ends = False

    def __len__(self) -> int:
        return len(self._waiting)

    def turn(self) -> None:
        """Note that one more sending begins."""
        self._turn += 1

    def end(self) -> None:
        """Let nothing wait any more."""
        self._ends = True

    def through(self, things: Iterable[Finished | Account]) -> Iterator[Finished]:
        """Yield what may be sent; those that have an account with its events."""
        offset = time.time_ns() - time.monotonic_ns()
        for thing in things:
            if isinstance(thing, Account):
                waiting = self._waiting.pop(thing.started, None)
                if waiting is not None:
                    yield _with_events(waiting[0], thing, offset)
            elif not isinstance(thing.what, EventPublished | HttpCallFinished) and thing.what.recorded < math.inf:
                self._waiting[thing.what.recorded] = thing, self._turn
            else:
                yield thing

    def late(self) -> list[Finished]:
        """Return, once, what has waited long enough."""
        oldest = math.inf if self._ends else self._turn - _TURNS
        late = [started for started, (_, turn) in self._waiting.items() if turn <= oldest]
        return [self._waiting.pop(started)[0] for started in late]


def _with_events(request: Finished, account: Account, offset: int) -> Finished:
    began = request.ended - int(request.what.seconds * 1e9)
    return msgspec.structs.replace(request, events=events_of(account, offset, began))

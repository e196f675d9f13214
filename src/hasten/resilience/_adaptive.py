"""How much to ask of a dependency that fails in part: as much as it can answer, and little more."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from hasten._core.errors import ConfigurationError
from hasten.resilience._guard import Guard
from hasten.resilience._refused import Refused

_BUCKETS = 30
_SPARED = 5
"""Calls of the window that may fail before any is refused: one failure says nothing."""


@dataclass(frozen=True, slots=True)
class AdaptiveStatistics:
    """What an adaptive breaker knows of its window, and has counted since it was made.

    Attributes:
      asked, accepted: Of the window: calls, with those that were refused here and those that are overdue, and answers.
      refusing: The share that is refused now.
      refused: Calls.
    """

    asked: int
    accepted: int
    refusing: float
    refused: int


class AdaptiveBreaker:
    """Refuses the calls that a dependency would not answer, by chance, in the proportion in which it does not.

    A share of (asked - multiple * accepted) / (asked + 1) of the calls is refused, over the last `window` seconds. One
    that answers all is asked for all; one that answers half is sent at most `multiple` times what it accepts; one that
    answers nothing is sent next to nothing, and is back as soon as it answers, with no states in between. `Breaker` is
    for what is there or not, this for what is overloaded or fails for some.

    It finds a dependency that is up again within about twice the window: with each call that is accepted more are sent.
    Calls that have been under way for a fifteenth of the window count as asked and not accepted: a dependency that
    answers no more is known before its calls time out.

    A guarded call that succeeds costs 0.4 µs. One event loop's.

    Args:
      multiple: Of what is accepted, that is sent; above 1. Lower ones spare the dependency, higher ones find sooner
        that it is well.
      window: Seconds.
      failing: Errors of a guarded block that are the dependency's; others are answers.
      clock: Seconds, never going back.
      chance: From 0 to 1, 1 left out.
    Raises:
      ConfigurationError: `multiple` is not above 1, or `window` not positive.
    Source: Google SRE book, chapter Handling Overload, Client-Side Throttling.
    """

    __slots__ = (
        "_accepted", "_accepted_before", "_accepted_in", "_begins", "_begun_before", "_begun_now", "_chance", "_clock",
        "_ends", "_failing", "_multiple", "_number", "_overdue", "_refused", "_unanswered", "_unanswered_before",
        "_unanswered_in", "_width",
    )  # fmt: skip

    def __init__(
        self,
        *,
        multiple: float = 2.0,
        window: float = 3.0,
        failing: tuple[type[Exception], ...] = (Exception,),
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 1.0 < multiple < 100.0:
            raise ConfigurationError(f"AdaptiveBreaker(multiple={multiple})", "must be above 1, and below 100")
        if not 0.0 < window < 1e6:
            raise ConfigurationError(f"AdaptiveBreaker(window={window})", "must be greater than 0")
        self._multiple, self._failing = multiple, failing
        self._clock, self._chance = clock, chance
        self._width = window / _BUCKETS
        # Of the window: sums, what they were when this bucket began, and what each bucket before it has added.
        self._accepted = self._accepted_before = self._unanswered = self._unanswered_before = 0
        self._accepted_in, self._unanswered_in = [0] * _BUCKETS, [0] * _BUCKETS
        self._begun_now = self._begun_before = self._overdue = 0  # under way: since this bucket began, the one before
        self._number = 0
        self._begins = self._ends = -math.inf
        self._refused = 0
        self._turn(clock())

    def guard(self) -> Guard:
        """Return what guards a block, or as a decorator each call of a function.

        Raises:
          Refused: when the block begins, by chance, as often as the dependency does not answer.
        """
        return Guard(self, self._clock)

    def begin(self, now: float) -> None:
        """Let a call through, and count it as under way."""
        if now >= self._ends:
            self._turn(now)
        if self._unanswered + self._overdue > _SPARED:  # else none is refused, whatever was accepted
            self._refuse_by_chance()
        self._begun_now += 1

    def _refuse_by_chance(self) -> None:
        share = self._refusing()
        if share > 0.0 and self._chance() < share:
            self._unanswered += 1
            self._refused += 1
            raise Refused("adaptive breaker", f"the dependency does not answer {share:.0%} of the calls")

    def end(self, began: float, now: float, error: BaseException | None) -> None:
        """Note how a call has ended that was let through."""
        if now >= self._ends:
            self._turn(now)
        if began >= self._begins:
            self._begun_now -= 1
        elif began >= (self._number - 1) * self._width:
            self._begun_before -= 1
        else:
            self._overdue -= 1
        if error is None:
            self._accepted += 1
        elif isinstance(error, Exception) and not isinstance(error, Refused):  # else it says nothing
            if isinstance(error, self._failing):
                self._unanswered += 1
            else:
                self._accepted += 1

    def _asked(self) -> int:
        return self._accepted + self._unanswered + self._overdue

    def _refusing(self) -> float:
        """Return the share of the calls that is refused; none of them where it is negative."""
        asked = self._asked()
        return (asked - _SPARED - self._multiple * self._accepted) / (asked + 1)

    def _turn(self, now: float) -> None:
        """Go on to the bucket of this moment, and forget those that are older than the window."""
        number = int(now / self._width)
        number += (now >= (number + 1) * self._width) - (now < number * self._width)  # divisions are rounded
        passed = number - self._number
        self._overdue += self._begun_before + (0 if passed == 1 else self._begun_now)
        self._begun_before = self._begun_now if passed == 1 else 0
        self._begun_now = 0
        at = self._number % _BUCKETS
        self._accepted_in[at] += self._accepted - self._accepted_before
        self._unanswered_in[at] += self._unanswered - self._unanswered_before
        for old in range(self._number + 1, self._number + 1 + min(passed, _BUCKETS)):
            at = old % _BUCKETS
            self._accepted -= self._accepted_in[at]
            self._unanswered -= self._unanswered_in[at]
            self._accepted_in[at] = self._unanswered_in[at] = 0
        self._accepted_before, self._unanswered_before = self._accepted, self._unanswered
        self._number = number
        self._begins, self._ends = number * self._width, (number + 1) * self._width

    def statistics(self) -> AdaptiveStatistics:
        """Return what is known now, and the counts."""
        now = self._clock()
        if now >= self._ends:
            self._turn(now)
        return AdaptiveStatistics(self._asked(), self._accepted, max(0.0, self._refusing()), self._refused)

"""When a breaker that is open asks again. A part of `Breaker`."""

from collections.abc import Callable


class Probes:
    """The times of probes: ever longer apart, none just when others have theirs.

    Attributes:
      at: When the next one is due.
      out: One has been sent, and nothing was heard of it.
      sent: So far.
    """

    __slots__ = ("_chance", "_delay", "_first", "_longest", "at", "out", "sent")

    def __init__(self, first: float, longest: float, chance: Callable[[], float]) -> None:
        self._first, self._longest, self._chance = first, longest, chance
        self._delay = first
        self.at = 0.0
        self.out = False
        self.sent = 0

    def send(self, now: float) -> bool:
        """Tell whether to send one now, and take it for sent."""
        if now < self.at:
            return False
        self.at = now + self._longest  # when this one is lost
        self.out = True
        self.sent += 1
        return True

    def begin(self, well_for: float) -> None:
        """Begin with the first delay, unless all was well for a short time only."""
        if well_for > self._longest:
            self._delay = self._first

    def put_off(self, now: float) -> None:
        """Wait for the next delay."""
        self.out = False
        self.at = now + self._delay * (1.0 - 0.5 * self._chance())
        self._delay = min(2.0 * self._delay, self._longest)

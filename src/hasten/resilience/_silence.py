"""Calls that are under way while none is answered: a dependency that has gone is known by them before they time out."""

_SHORTEST, _UNKNOWN = 0.05, 1.0
"""Seconds without an answer that are silence, at least; and where no answer is known yet."""
_MULTIPLE = 2.0
"""Of what the slowest answers of late took: so long without any is silence."""
_FORGET = 0.995
"""Of the slowest, what each answer leaves."""


class Silence:
    """Counts the calls under way, and when one was last answered.

    Attributes:
      under_way: Calls that have begun, and of which nobody has heard.
    """

    __slots__ = ("_since", "_slowest", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self._since = 0.0
        self._slowest = 0.0

    def begins(self, now: float) -> None:
        """Note that a call begins."""
        if not self.under_way:
            self._since = now
        self.under_way += 1

    def heard(self, now: float, seconds: float) -> None:
        """Note that a call was answered after so long, well or not."""
        self.under_way -= 1
        self._since = now
        slowest = self._slowest * _FORGET
        self._slowest = seconds if seconds > slowest else slowest

    def given_up(self) -> None:
        """Note that a call has ended without an answer."""
        self.under_way -= 1

    def lasts(self, now: float) -> bool:
        """Tell whether it has been silent too long."""
        patience = max(_SHORTEST, _MULTIPLE * self._slowest) if self._slowest else _UNKNOWN
        return now - self._since > patience

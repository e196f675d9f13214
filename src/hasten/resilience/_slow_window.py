"""Whether most answers of a while are slow. A part of `Breaker`."""

_FEWEST_ANSWERS = 10
"""A window with fewer says nothing about most answers."""


class SlowWindow:
    """Counts slow answers.

    Attributes:
      slow: So far, of all windows.
    """

    __slots__ = ("_answers_before", "_ends", "_seconds", "_slow_before", "slow")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.slow = 0
        self.begin(0.0, 0)

    def begin(self, now: float, answers: int) -> None:
        """Begin anew, after so many answers."""
        self._ends = now + self._seconds
        self._answers_before, self._slow_before = answers, self.slow

    def is_mostly_slow(self, now: float, answers: int) -> bool:
        """Tell whether a window, which this slow answer ends, was slow for the most part; False if it ends none.

        Only slow answers end windows: quick ones need not read the clock, and cannot make most of a window slow.
        """
        answered = answers - self._answers_before
        if now < self._ends or answered < _FEWEST_ANSWERS:
            return False
        slow = self.slow - self._slow_before
        self.begin(now, answers)
        return 2 * slow > answered

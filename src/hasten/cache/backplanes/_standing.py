"""What a member knows of the others' trust, by the order in which Redis has taken the beats of all."""

from collections import deque


class Standing:
    """A member's place in the set of members, and how long it has had it.

    The beats of all members are numbered together: each gets the next *tick*, and a member's place in the set is the
    tick of its last beat. When we learn of a tick, it and all before it have been taken; so a period later, by our own
    clock, they give no trust any more: they are *over*. No clock is compared with another's.

    Args:
      period: Seconds after which a beat that was taken gives no trust any more.
    Attributes:
      tick: Of our own last beat; 0 before the first.
    """

    def __init__(self, period: float) -> None:
        self.tick = 0
        self._period = period
        self._seen: deque[tuple[int, float]] = deque()  # ticks that are not over, and when we knew of them first
        self._over = 0

    def beaten(self, tick: int, now: float, *, stood: bool) -> None:
        """Note our own beat.

        Args:
          stood: We were in the set, as we thought; otherwise we have come in with this beat, and know nothing older.
        """
        if not stood:
            self._seen.clear()
            self._over = 0
        self.tick = tick
        self.saw(tick, now)

    def saw(self, tick: int, now: float) -> None:
        """Note a tick that was taken before now, while we were in the set."""
        if not self._seen or tick > self._seen[-1][0]:
            self._seen.append((tick, now))

    def over(self, now: float) -> int:
        """Return the highest tick, below our own, up to which all beats are over; 0 if there is none.

        Above 0 it also says that we have been in the set for a period, so that everybody who has trust is in it.
        """
        while self._seen and self._seen[0][1] + self._period <= now:
            self._over, _ = self._seen.popleft()
        return max(min(self._over, self.tick - 1), 0)

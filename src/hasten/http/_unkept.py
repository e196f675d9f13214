"""Keys whose responses cannot be kept: requests for them do not wait for one another (hit-for-miss)."""

from collections.abc import Callable, Hashable


class Unkept:
    """Remembers such keys for a while.

    Args:
      clock: Seconds.
      most: Keys at most; the oldest is forgotten first.
    """

    def __init__(self, clock: Callable[[], float], most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._until: dict[Hashable, tuple[float, bool]] = {}

    def __contains__(self, key: Hashable) -> bool:
        noted = self._until.get(key)
        if noted is None:
            return False
        if self._clock() < noted[0]:
            return True
        del self._until[key]
        return False

    def __len__(self) -> int:
        return len(self._until)

    def note(self, key: Hashable, seconds: float, *, by_head: bool) -> None:
        """Remember a key.

        Args:
          by_head: What its responses say makes them so, and not their size: `forgive` may end it.
        """
        self._until.pop(key, None)
        self._until[key] = self._clock() + seconds, by_head
        if len(self._until) > self._most:
            del self._until[next(iter(self._until))]

    def forgive(self, key: Hashable) -> None:
        """Forget a key for which a response came that could have been kept."""
        if self._until.get(key, (0.0, False))[1]:
            del self._until[key]

"""Remembers in the process: for `memory://`, for tests, and for a group that one process alone consumes."""

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from hasten._core.errors import ConfigurationError
from hasten.events._once import BUSY, DONE, Claim, Once, Standing

_Name = tuple[str, str]  # a group and the id of a message


class MemoryOnce(Once):
    """Remembers what was handled in the memory of this process, and is forgotten with it.

    At least once: a process that is killed leaves no note. 4 µs for a claim and its note.

    Args:
      ttl: Seconds that a message is remembered; longer than the broker may deliver it again.
      lease: Seconds until a claim that nobody ends does so by itself; longer than the slowest handler.
      most: Messages that are remembered; the oldest are forgotten first. About 300 bytes each.
      clock: Monotonic seconds.
    Raises:
      ConfigurationError: a value is out of bounds.
    """

    def __init__(
        self,
        ttl: float = 86400.0,
        *,
        lease: float = 300.0,
        most: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        checked_seconds("MemoryOnce", ttl=ttl, lease=lease)
        if most < 1:
            raise ConfigurationError(f"MemoryOnce(most={most})", "must be at least 1")
        self._ttl = ttl
        self._lease = lease
        self._most = most
        self._clock = clock
        self._token = secrets.token_hex(4)
        self._claims: OrderedDict[_Name, tuple[str, float]] = OrderedDict()
        self._done: OrderedDict[_Name, float] = OrderedDict()  # both in the order in which they end
        self._count = 0

    async def claim(self, group: str, message_id: str) -> Claim:
        name, now = (group, message_id), self._clock()
        ends = self._done.get(name)
        if ends is not None and ends > now:
            return DONE
        held = self._claims.get(name)
        if held is not None and held[1] > now:
            return BUSY
        self._count += 1
        token = f"{self._token}{self._count:x}"
        self._claims.pop(name, None)  # so that it stands last
        self._claims[name] = token, now + self._lease
        return Claim(Standing.OURS, token)

    async def done(self, group: str, message_id: str, claim: Claim) -> None:
        name, now = (group, message_id), self._clock()
        self._done.pop(name, None)
        self._done[name] = now + self._ttl
        self._give_back(name, claim)
        self._forget(now)

    async def release(self, group: str, message_id: str, claim: Claim) -> None:
        self._give_back((group, message_id), claim)

    async def aclose(self) -> None:
        """Keep what is remembered; it is gone with this object."""

    def _give_back(self, name: _Name, claim: Claim) -> None:
        held = self._claims.get(name)
        if held is not None and held[0] == claim.token:
            del self._claims[name]

    def _forget(self, now: float) -> None:
        """Forget what has ended: two at a time at most, which is more than come."""
        for _ in range(2):
            name, ends = next(iter(self._done.items()))
            if ends > now and len(self._done) <= self._most:
                break
            del self._done[name]
            if not self._done:
                break
        if self._claims:
            name, (_, ends) = next(iter(self._claims.items()))
            if ends <= now:
                del self._claims[name]


def checked_seconds(where: str, **durations: float) -> None:
    """Refuse durations that are none.

    Raises:
      ConfigurationError: one is not greater than 0, or not finite.
    """
    for name, seconds in durations.items():
        if not 0.0 < seconds < math.inf:
            raise ConfigurationError(f"{where}({name}={seconds})", "must be greater than 0, and finite")

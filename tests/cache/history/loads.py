"""How often the loader was called, against how often a value was needed.

A value of a key is needed

- when nobody has loaded the key before ("first");
- when the last load's value is over: after half of its life at the earliest, as it may be refreshed ahead ("expired");
- when the second tier has deleted it or raised its tag ("invalidated").

Each need is met by one load in the cluster: the first one whose lease was given after the need arose, because a lease
fences off what is older than itself. So the reason for a load is to be found between the lease of the load before,
which did not meet it, and its own begin. One load more is right

- when the one before was not to be waited for: its process was killed, or stood still until the lease was over
  ("killed", "stood still");
- when the second tier has not said that it took its value ("unwritten").

A process that does without the second tier loads for itself ("without"). It may do so while its breaker is open, when
a question has failed, perhaps for want of an answer in time (which leaves the breaker closed if the process was held up
itself), while an invalidation of the key is pending, and after it has waited for the lease for as long as one lasts. So
the windows in which the second tier is ill are known by what the processes got from it, not by when it was frozen.

Any other load is one too many.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter

from hasten.cache import Policy
from tests.cache.history.records import Dropped, Dropping, Loaded, Loading, Record, Unwritten

LINGERS = 5.0
"""Seconds in which an invalidation without an answer may still happen: Redis may stand still, with it in its socket."""
EARLIEST = 0.5
"""The part of its life after which a value may be refreshed ahead."""
_LATEST = attrgetter("latest")


@dataclass
class Load:
    """One call of the loader; see `Loading`."""

    process: str
    key: int
    asked: float
    began: float
    leased: tuple[float, float] | None
    why: str
    ended: float | None = None


@dataclass(frozen=True)
class Drop:
    """A moment, somewhere between two that are known, at which the second tier dropped a key."""

    earliest: float
    latest: float


@dataclass
class Verdict:
    """What the loads were for.

    Attributes:
      reasons: How many loads there were for each.
      too_many: The loads for which there is none, in words.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    too_many: list[str] = field(default_factory=list)


class Loads:
    """All loads of a history, and what happened in the second tier.

    Args:
      records: Each with its process.
      policy: Of the values.
      tag_of: The tag that each key has.
    """

    def __init__(self, records: Iterable[tuple[str, Record]], policy: Policy, tag_of: Sequence[int]) -> None:
        self._policy = policy
        self._least_life = EARLIEST * policy.ttl * (1.0 - policy.jitter)
        self._loads: dict[int, list[Load]] = defaultdict(list)
        self._drops: dict[int, list[Drop]] = defaultdict(list)
        self._unwritten: dict[tuple[str, int], list[float]] = defaultdict(list)
        begun: dict[tuple[str, int], Load] = {}
        dropping: list[tuple[str, Dropping]] = []
        dropped: dict[tuple[str, int], float] = {}
        for process, record in records:
            match record:
                case Loading(began, key, number, asked, leased, why):
                    begun[process, number] = load = Load(process, key, asked, began, leased, why)
                    self._loads[key].append(load)
                case Loaded(ended, number):
                    begun[process, number].ended = ended
                case Unwritten(at, key):
                    self._unwritten[process, key].append(at)
                case Dropping():
                    dropping.append((process, record))
                case Dropped(ended, number):
                    dropped[process, number] = ended
        for process, drop in dropping:
            when = Drop(drop.began, dropped.get((process, drop.drop), drop.began + LINGERS))
            by_tag = [key for key, tag in enumerate(tag_of) if tag in drop.tags]
            for key in (*drop.keys, *by_tag):
                self._drops[key].append(when)
        for drops in self._drops.values():
            drops.sort(key=_LATEST)

    def verdict(self) -> Verdict:
        """Find a reason for each load."""
        verdict = Verdict()
        for loads in self._loads.values():
            leased = sorted((load for load in loads if load.leased), key=_leased_at)
            verdict.reasons["first"] += bool(leased)
            for earlier, later in pairwise(leased):
                self._judge(verdict, self._reason(earlier, later), later, earlier)
            for load in loads:
                if load.leased is None:
                    self._judge(verdict, self._why_without(load), load, None)
        return verdict

    def _judge(self, verdict: Verdict, reason: str, load: Load, earlier: Load | None) -> None:
        if reason:
            verdict.reasons[reason] += 1
        else:
            verdict.too_many.append(f"{load} after {earlier}" if earlier else f"{load} without a lease")

    def _reason(self, earlier: Load, later: Load) -> str:
        """Return the reason for a load; "" without one."""
        assert earlier.leased is not None
        assert later.leased is not None
        # Where both leases were asked for at the same time, they may have been given in the other order.
        since, until = min(earlier.leased[0], later.leased[0]), max(earlier.began, later.began)
        if earlier.ended is not None and later.began >= earlier.ended + self._least_life:
            return "expired"
        if later.began >= earlier.leased[0] + self._policy.lease:
            return "killed" if earlier.ended is None else "stood still"
        if later.began >= later.leased[0] + self._policy.lease:
            return "stood still"
        if self._was_dropped(later.key, since, until):
            return "invalidated"
        if any(since <= at <= until for at in self._unwritten[earlier.process, earlier.key]):
            return "unwritten"
        return ""

    def _was_dropped(self, key: int, since: float, until: float) -> bool:
        drops = self._drops[key]
        first = bisect_left(drops, since, key=_LATEST)
        return any(drops[place].earliest <= until for place in range(first, len(drops)))

    def _why_without(self, load: Load) -> str:
        waited_enough = load.began - load.asked >= self._policy.lease
        return "without" if load.why != "waited" or waited_enough else ""


def _leased_at(load: Load) -> float:
    assert load.leased is not None
    return load.leased[1]

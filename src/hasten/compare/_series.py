"""The figures of each metric, out of the pairs. Pure.

Each metric has its part of the chance of a false alarm: a third for CPU, a third for the medians of all kinds, a sixth
each for the tails and for what failed. CPU is one figure and has the least noise, so it must not pay for a plan of
twenty kinds; the tails are too noisy for anything but large changes, and those have room in a sixth.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

from hasten.compare._result import KindRound, Pair

_PARTS = {"cpu": 2.0, "p50": 2.0, "p90": 0.5, "p99": 0.5, "errors": 1.0}
_FEWEST_REQUESTS = 20
"""In a round, for a median to be waited for: that of fewer has a noise of 30 % and more for usual latencies."""

Key = tuple[int, str]
"""The kind's place in the plan, -1 for all of them (two kinds may have one name), and the metric."""


class Series(NamedTuple):
    """One metric in all pairs that have it.

    Attributes:
      kind: Its name; empty for all of them.
      before, after: As many as pairs; of `errors` the failed requests.
      offered: Of `errors`: the requests of each pair, of both sides on average; else empty.
      part: Of the chance of a false alarm, in relation to the other series.
      counts: While it is undecided, so is the comparison. The others count once they are better or worse.
    """

    key: Key
    kind: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    offered: tuple[float, ...]
    part: float
    counts: bool

    @property
    def metric(self) -> str:
        """One of METRICS."""
        return self.key[1]


def all_series(pairs: Sequence[Pair]) -> list[Series]:
    """Return what can be judged, by kind in the plan's order, then what is of all kinds."""
    kinds = len(pairs[0].before.kinds) if pairs else 0
    busy = [median(pair.before.kinds[index].offered for pair in pairs) >= _FEWEST_REQUESTS for index in range(kinds)]
    found: list[Series] = []
    for index in range(kinds):
        rounds = [(pair.before.kinds[index], pair.after.kinds[index]) for pair in pairs]
        found += _of_kind(index, rounds, 1 / kinds, counts=busy[index] or not any(busy))
    found += _known((-1, "cpu"), "", [(pair.before.cpu, pair.after.cpu) for pair in pairs], 1.0, counts=True)
    if kinds > 1:
        found += _failures(-1, "", [(pair.before.kinds, pair.after.kinds) for pair in pairs], 0.5, counts=True)
    return found


def _of_kind(
    index: int, rounds: Sequence[tuple[KindRound, KindRound]], share: float, *, counts: bool
) -> Iterator[Series]:
    name = rounds[0][0].name
    yield from _known((index, "p50"), name, [(one.p50, other.p50) for one, other in rounds], share, counts=counts)
    yield from _known((index, "p90"), name, [(one.p90, other.p90) for one, other in rounds], share, counts=False)
    yield from _known((index, "p99"), name, [(one.p99, other.p99) for one, other in rounds], share, counts=False)
    alone = share == 1
    sides = [((one,), (other,)) for one, other in rounds]
    yield from _failures(index, name, sides, 1.0 if alone else share / 2, counts=alone)


def _known(
    key: Key, kind: str, values: Sequence[tuple[float, float]], share: float, *, counts: bool
) -> Iterator[Series]:
    """Yield the series of the pairs whose values are known on both sides, if there are any; infinite is known."""
    known = [(one, other) for one, other in values if one > 0 and other > 0]  # NaN is not
    if known:
        before, after = zip(*known, strict=True)
        yield Series(key, kind, before, after, (), _PARTS[key[1]] * share, counts)


def _failures(
    index: int,
    kind: str,
    rounds: Sequence[tuple[Sequence[KindRound], Sequence[KindRound]]],
    share: float,
    *,
    counts: bool,
) -> Iterator[Series]:
    offered = tuple(sum(one.offered for side in sides for one in side) / 2 for sides in rounds)
    if math.fsum(offered):
        before, after = (tuple(float(sum(one.failed for one in sides[at])) for sides in rounds) for at in (0, 1))
        yield Series((index, "errors"), kind, before, after, offered, _PARTS["errors"] * share, counts)

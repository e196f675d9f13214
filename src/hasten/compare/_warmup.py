"""From which pair on neither side is still warming up, and whether they drift apart later. Pure.

Caches fill, pools open, branches are compiled: the first rounds are slower, each less so than the last. The first
window of pairs in which no series shows that is the first that counts. What is too small to be seen in a window
of noise is left in: of 60 pairs it moves the result by less than their noise does.

The test is a linear rank statistic: the ranks of a window against weights that fall like a warm-up does, which finds a
side that starts twice as slow and loses a third of that from pair to pair in 97 of 100 windows of pairs with 17 %
of noise; Mann and Kendall's test against a trend finds 91.

Source: Hájek and Šidák, "Theory of rank tests", 1967, section III.3; for the noise benchmarks/compare_power.py.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hasten.compare._result import Pair, Round

_WINDOW = 15
_STEP = 5
_FALL = 0.8  # from pair to pair
_DRIFT = 0.001


class _Trace(NamedTuple):
    """Logarithms from pair to pair; `chance` that noise in a window is taken for a warm-up, which costs 5 pairs."""

    values: list[float]
    chance: float


class Warmup:
    """Tells how many of the first pairs to leave out, once for all.

    Attributes:
      pairs: To leave out; 0 until it is known.
      settled: Whether that is known: a window without a trend has come, or as many as may be left out had one.
      in_vain: The latter.
    """

    def __init__(self) -> None:
        self.pairs = 0
        self.settled = False
        self.in_vain = False
        self._next = 0

    def update(self, pairs: Sequence[Pair], most: float) -> None:
        """Look at the windows that have come since; leave out `most` pairs at most."""
        while not self.settled and self._next + _WINDOW <= len(pairs):
            self.in_vain = self._next > most
            window = pairs[self._next : self._next + _WINDOW]
            self.settled = self.in_vain or not warms_up(window, was_cold=self._next > 0)
            if self.settled:
                self.pairs = int(min(self._next, most))
            self._next += _STEP


def warms_up(pairs: Sequence[Pair], *, was_cold: bool = False) -> bool:
    """Return whether the first of the pairs differ from the later ones: latency or CPU, of a side or of their ratio.

    Args:
      was_cold: The pairs before these did. Then a tenth of the evidence does: what was cold is so until it is not.
    """
    weights = [_FALL**number for number in range(len(pairs))]
    lenience = 10 if was_cold else 1
    return any(association_p(trace.values, weights) < lenience * trace.chance for trace in _traces(pairs))


def drift(pairs: Sequence[Pair]) -> str:
    """Return what has moved steadily from the first pair to the last, after beside before; empty if nothing has."""
    for name, logarithm in (("latency", _latency), ("CPU", _cpu)):
        ratios = [logarithm(pair.after) - logarithm(pair.before) for pair in pairs]
        if association_p(ratios, range(len(ratios))) < _DRIFT:
            return name
    return ""


def association_p(values: Sequence[float], weights: Sequence[float]) -> float:
    """Return the two-sided p of values having nothing to do with weights, by the normal distribution.

    Args:
      values: From 10 on; equal ones are ranked as they come. With NaN among them p is 1.
      weights: As many.
    """
    count = len(values)
    mean = math.fsum(weights) / max(1, count)
    variance = math.fsum((weight - mean) ** 2 for weight in weights) * count * (count + 1) / 12
    if not variance or any(math.isnan(value) for value in values):
        return 1.0
    order = sorted(range(count), key=values.__getitem__)
    score = math.fsum((weights[index] - mean) * rank for rank, index in enumerate(order))
    return math.erfc(abs(score) / math.sqrt(2 * variance))


def _traces(pairs: Sequence[Pair]) -> Iterator[_Trace]:
    """Yield what is tested. What slows the whole machine for a while shows in each side, but not in their ratio."""
    for logarithm in (_latency, _cpu):
        before, after = [logarithm(pair.before) for pair in pairs], [logarithm(pair.after) for pair in pairs]
        yield _Trace([other - one for one, other in zip(before, after, strict=True)], 0.01)
        yield _Trace(before, 0.001)
        yield _Trace(after, 0.001)


def _latency(round_: Round) -> float:
    """Return the mean logarithm of the medians: all kinds count alike, however slow they are."""
    logarithms = [math.log(kind.p50) for kind in round_.kinds if 0 < kind.p50 < math.inf]
    return math.fsum(logarithms) / len(logarithms) if logarithms else math.nan


def _cpu(round_: Round) -> float:
    return math.log(round_.cpu) if round_.cpu > 0 else math.nan

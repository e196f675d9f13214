"""How small p has to be at each of several looks at the same growing data. Pure; standard library only.

Who looks ten times at 5 % and stops at the first difference finds one in a fifth of all comparisons of a version with
itself. Here the chance of a false alarm is a sum that is spent look by look: `spend` says how much of it may be gone
when a share of the budget is, and the level of a look is what makes the chance of crossing there for the first
time just what may be spent. It needs neither the number of looks nor their times beforehand.

The statistic is taken as a Brownian motion that is seen at as many points as pairs (the signed ranks are one for many
pairs, and coarser, so safer, for few); the density of what has not crossed yet is carried from look to look.

Source: Lan and DeMets, "Discrete sequential boundaries for clinical trials", 1983, and by the budget spent rather than
the pairs "Group sequential procedures: calendar versus information time", 1989; Kim and DeMets, "Design and analysis
of group sequential tests based on the type I error spending rate function", 1987; Armitage, McPherson and Rowe,
"Repeated significance tests on accumulating data", 1969, for the recursion.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_FARTHEST = 8.0  # standard deviations: beyond them lies 1e-15
_MOST_INTERVALS = 600
_FINEST = 1e-12  # of alpha: less is not worth a look


class Look(NamedTuple):
    """When it was looked: with how many pairs, and what share of the budget spent."""

    pairs: int
    spent: float


def cubic(alpha: float, spent: float) -> float:
    """Return how much of alpha may be gone when that share of the budget is: alpha spent^3.

    A middle way. Of 60 pairs it takes 27 to find a service 10 % slower (spent^1: 23; spent^2: 25), and it shows
    a service to be the same as itself in 28 of 100 comparisons (12; 24), for the last look keeps most of alpha.
    Source: benchmarks/compare_power.py, 400 comparisons each.
    """
    return alpha * spent**3


Spending = Callable[[float, float], float]


def nominal_level(alpha: float, looks: tuple[Look, ...], spend: Spending = cubic) -> float:
    """Return the two-sided p that counts as a difference at the last of the looks; 0 if none does.

    Args:
      alpha: Chance that p is as small at any look when nothing has changed.
      looks: All looks so far, each with more pairs than the one before and no less spent, a share of 0 to 1. About
        2 ms for each that has not been asked for before, 40 with a thousand pairs.
      spend: Never falling in either argument; at most alpha when all is spent.
    """
    return _walk(alpha, looks, spend).level


class _Step(NamedTuple):
    """After a look: what is left of the motion, as its density at even distances from -edge to edge."""

    level: float
    spent: float
    edge: float
    density: tuple[float, ...]


@lru_cache(maxsize=512)  # of at most 20 KB each
def _walk(alpha: float, looks: tuple[Look, ...], spend: Spending) -> _Step:
    pairs, share = looks[-1]
    before = _walk(alpha, looks[:-1], spend) if len(looks) > 1 else None
    spent = before.spent if before else 0.0
    allowed = max(0.0, spend(alpha, share) - spent)
    points = _first(pairs) if before is None else _spread(before, pairs - looks[-2].pairs)
    bound = _FARTHEST
    if allowed > _FINEST:
        bound = _bound(points, math.sqrt(pairs), allowed)
        spent += allowed
    level = 0.0 if bound >= _FARTHEST else math.erfc(bound / math.sqrt(2))
    edge = bound * math.sqrt(pairs)
    return _Step(level, spent, edge, points.density(edge))


class _Points(NamedTuple):
    """Where the motion may have come from, how likely, and how far it may have gone since (standard deviation)."""

    places: tuple[float, ...]
    weights: tuple[float, ...]
    deviation: float

    def beyond(self, edge: float) -> float:
        """Return the chance of being outside -edge to edge now."""
        scale = 1 / (self.deviation * math.sqrt(2))
        weighted = zip(self.places, self.weights, strict=True)
        return sum(weight * math.erfc((edge - place) * scale) for place, weight in weighted)  # both sides: symmetric

    def density(self, edge: float) -> tuple[float, ...]:
        """Return the density now from -edge to edge, at distances that are small beside what one pair adds, 1."""
        intervals = min(_MOST_INTERVALS, 2 * math.ceil(2 * edge))
        places = [edge * (2 * index / intervals - 1) for index in range(intervals // 2 + 1)]
        scale, norm = -0.5 / self.deviation**2, 1 / (self.deviation * math.sqrt(2 * math.pi))
        come = tuple(zip(self.places, self.weights, strict=True))
        left = [norm * sum(weight * math.exp(scale * (at - place) ** 2) for place, weight in come) for at in places]
        return (*left, *reversed(left[:-1]))


def _first(pairs: int) -> _Points:
    return _Points((0.0,), (1.0,), math.sqrt(pairs))


def _spread(before: _Step, more: int) -> _Points:
    """Return the places of a step with the weights of Simpson's rule."""
    count = len(before.density) - 1
    width = 2 * before.edge / count
    places = tuple(index * width - before.edge for index in range(count + 1))
    factors = (1 if index in (0, count) else 4 if index % 2 else 2 for index in range(count + 1))
    weights = (factor * width / 3 * value for factor, value in zip(factors, before.density, strict=True))
    return _Points(places, tuple(weights), math.sqrt(more))


def _bound(points: _Points, unit: float, allowed: float) -> float:
    """Return how many standard deviations are crossed with the chance that is allowed, by halving."""
    low, high = 0.0, _FARTHEST
    for _ in range(30):
        middle = (low + high) / 2
        if points.beyond(middle * unit) > allowed:
            low = middle
        else:
            high = middle
    return high

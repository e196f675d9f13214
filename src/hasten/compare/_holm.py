"""Which of several metrics are proven different, after several looks. Pure.

The chance of a false alarm is dealt out to the metrics in parts. One that is proven hands its part to the others, in
proportion to theirs, and they are looked at anew, at all looks so far: a difference is proven if it was at any look.
However many metrics have not changed, the chance to call any of them different stays at alpha.

Source: Holm, "A simple sequentially rejective multiple test procedure", 1979 (weighted); for several looks Maurer and
Bretz, "Multiple testing in group sequential trials using graphical approaches", 2013.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from hasten.compare._looks import Look, nominal_level

Key = TypeVar("Key")
_GRADES = 16  # levels per halving: so many that no more than 4 % of one are lost, and so few that they are reused


def proven(
    alpha: float, looks: tuple[Look, ...], parts: Mapping[Key, float], p_values: Mapping[Key, Sequence[float]]
) -> set[Key]:
    """Return the metrics that are different.

    Args:
      parts: Of alpha, in relation to each other.
      p_values: Of each metric at each look, two-sided.
    """
    remaining = set(parts)
    while remaining:
        total = math.fsum(parts[key] for key in remaining)
        crossed = {key for key in remaining if _crosses(level(alpha * parts[key] / total), looks, p_values[key])}
        if not crossed:
            break
        remaining -= crossed
    return set(parts) - remaining


def level(exact: float) -> float:
    """Return the level of the grid at or below."""
    return math.exp2(math.floor(math.log2(exact) * _GRADES) / _GRADES)


def _crosses(alpha: float, looks: tuple[Look, ...], p_values: Sequence[float]) -> bool:
    candidates = [index for index, p in enumerate(p_values) if p <= alpha]
    return any(p_values[index] <= nominal_level(alpha, looks[: index + 1]) for index in candidates)

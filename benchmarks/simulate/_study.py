"""What a study has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

Series = Mapping[str, Sequence[float]]
"""Values of each second, by the name of what has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over time.

    Attributes:
      name: Of its file, without the suffix.
      unit: Of the values.
      shaded: Seconds from when until when something was wrong.
      most: What is above it is drawn at the edge.
    """

    name: str
    title: str
    unit: str
    series: Series
    shaded: tuple[float, float]
    most: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study's findings.

    Attributes:
      name: As it is asked for.
      about: What was simulated, with its numbers.
      columns: Of the table, each with its unit; the first is the name of a way to do it.
      rows: One for each way.
    """

    name: str
    about: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, *tuple[float, ...]]]
    charts: Sequence[Chart]


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of all are at or below; infinite for none."""
    return sorted(values)[max(0, ceil(part * len(values)) - 1)] if values else inf

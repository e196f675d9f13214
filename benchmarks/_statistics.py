"""Medians, quartiles and ratios of rounds. Pure: it takes numbers and returns numbers.

A ratio is taken in each round and the median of those is reported: what slows the machine for one round slows
both sides of it. Dividing two medians instead would pair numbers from different moments.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """Rounds in short: `low` and `high` are the quartiles, half of the rounds lie between them."""

    median: float
    low: float
    high: float
    rounds: int


def summarise(values: list[float]) -> Summary:
    """Return median and quartiles of at least one value."""
    if len(values) == 1:
        return Summary(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(median, low, high, len(values))


class Samples:
    """One value for each round, subject and metric; a subject may lack a metric that others have."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = {}

    def add(self, number: int, subject: str, metric: str, value: float) -> None:
        """Note what round `number` gave."""
        self._values.setdefault((subject, metric), {})[number] = value

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Iterate over the (subject, metric) pairs that have values."""
        return iter(self._values)

    def summary(self, subject: str, metric: str) -> Summary | None:
        """Return median and spread over the rounds, or None if it was not measured."""
        values = self._values.get((subject, metric))
        return summarise(list(values.values())) if values else None

    def ratio(self, subject: str, peer: str, metric: str) -> Summary | None:
        """Return median and spread of subject / peer, divided round by round; None if no round has both."""
        ours = self._values.get((subject, metric), {})
        theirs = self._values.get((peer, metric), {})
        ratios = [value / theirs[number] for number, value in ours.items() if theirs.get(number)]
        return summarise(ratios) if ratios else None

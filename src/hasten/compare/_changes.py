"""From evidence to verdicts: one metric, and the comparison. Pure."""

import math
from collections.abc import Iterable, Sequence

from hasten.compare._evidence import FAILURES, Evidence, detectable
from hasten.compare._holm import level
from hasten.compare._result import Change, Verdict
from hasten.compare._series import Series

INTERVAL = 0.05
"""Chance that the intervals, as they are shown and as SAME is judged by, do not hold the change."""


def change(series: Series, found: Evidence, alpha: float, outer: float, *, proven: bool) -> Change:
    """Return what has become of a metric.

    Args:
      alpha: The metric's part of the chance of a false alarm: what it could have seen is by that level.
      outer: Level of the interval that holds at this look and all others together; 0 if none does yet.
      proven: It is different.
    """
    verdict = _verdict(found, outer, proven=proven)
    low, high = found.interval(INTERVAL)
    return Change(
        kind=series.kind,
        metric=series.metric,
        before=found.values[0],
        after=found.values[1],
        change=found.express(found.estimate),
        low=found.express(low),
        high=found.express(high),
        p=found.p,
        detectable=found.express(detectable(found, level(alpha))),
        verdict=verdict,
        advisory=not series.counts and verdict in (Verdict.SAME, Verdict.UNDECIDED),
    )


def overall(changes: Sequence[Change], threshold: float) -> Verdict:
    """Return the verdict of a comparison, by the changes that count; UNDECIDED if there are none.

    What is better outweighs what is undecided, unless that may be the price: it looks worse by the threshold or more,
    or its interval lies above no change. So a service that takes 5 % more CPU is not called better for a lucky median.
    """
    verdicts = {change.verdict for change in changes if not change.advisory}
    if Verdict.WORSE in verdicts:
        return Verdict.WORSE
    if Verdict.BETTER in verdicts and not any(_may_be_the_price(change, threshold) for change in changes):
        return Verdict.BETTER
    return Verdict.SAME if verdicts == {Verdict.SAME} else Verdict.UNDECIDED


def is_decided(changes: Sequence[Change]) -> bool:
    """Return whether more pairs are needless: one that counts is worse, or none is undecided."""
    verdicts = {change.verdict for change in changes if not change.advisory}
    return Verdict.WORSE in verdicts or (bool(verdicts) and Verdict.UNDECIDED not in verdicts)


def _may_be_the_price(change: Change, threshold: float) -> bool:
    matters = FAILURES if change.metric == "errors" else threshold
    looks_worse = change.change >= matters or change.low > 0
    return change.verdict is Verdict.UNDECIDED and not change.advisory and looks_worse


def more_rounds(changes: Iterable[Change], pairs: int, threshold: float) -> int | None:
    """Return how many more pairs let those that hold the verdict up see a change of the threshold.

    0 if these pairs could, and the change lies about at the threshold; None if it cannot be told.
    """
    short = [
        change.detectable / FAILURES
        if change.metric == "errors"
        else math.log1p(change.detectable) / math.log1p(threshold)
        for change in changes
        if change.verdict is Verdict.UNDECIDED and not change.advisory
    ]
    needed = pairs * max(short, default=0.0) ** 2  # errors shrink with the root of the pairs
    return max(0, math.ceil(needed) - pairs) if needed < math.inf else None


def _verdict(found: Evidence, outer: float, *, proven: bool) -> Verdict:
    if outer > 0:
        low, high = found.interval(outer)
        if -found.same <= low and high <= found.same:
            return Verdict.SAME
    if proven and abs(found.estimate) >= found.smallest:
        return Verdict.WORSE if found.estimate > 0 else Verdict.BETTER
    return Verdict.UNDECIDED

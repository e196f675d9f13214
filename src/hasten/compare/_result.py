"""What a comparison is made of, and what it says: plain data between those who measure, judge and print.

    Pair ── a round of each side, one after the other, with the same requests at the same times
      └─ Round ── KindRound: one kind of request in it
    Comparison ── Change: what has become of one metric of one kind, with its verdict

Seconds everywhere. A metric is `p50`, `p90`, `p99` (of latency, from the intended send time), `cpu` (CPU seconds
of the service per request, of all kinds together: its kind is empty), or `errors` (share of requests that were not
answered as expected).
"""

from enum import StrEnum

import msgspec

from hasten.load import Problem

METRICS = ("p50", "p90", "p99", "cpu", "errors")
ADVISORY = frozenset({"p90", "p99"})
"""Undecided they hold nothing up; proven they count."""


class KindRound(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One kind of request in one round of one side.

    Attributes:
      p50, p90, p99: Infinite where that many have failed.
    """

    name: str
    offered: int
    failed: int
    p50: float
    p90: float
    p99: float


class Round(msgspec.Struct, frozen=True, array_like=True):
    """One side's round.

    Attributes:
      kinds: In the plan's order.
      cpu: CPU seconds of the service per request; NaN where they cannot be known.
      lateness_p99: Of the load generator.
      problems: Why its figures cannot be trusted; empty when they can.
    """

    kinds: tuple[KindRound, ...]
    cpu: float
    lateness_p99: float
    problems: tuple[Problem, ...] = ()


class Pair(msgspec.Struct, frozen=True, array_like=True):
    """A round of each side.

    Attributes:
      seed: Of the requests and their times, which both were sent.
      before_first: Which was measured first.
    """

    seed: int
    before_first: bool
    before: Round
    after: Round


class Verdict(StrEnum):
    """What has become of a metric."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    """No change of `threshold` or more: the interval lies within it."""
    UNDECIDED = "undecided"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of one metric.

    Attributes:
      kind: Name of the kind of request; empty for all of them together.
      metric: One of METRICS.
      before, after: Medians of the rounds.
      change: Relative, 0.05 for 5 % more: the Hodges-Lehmann estimate of the pairs' log ratios; of `errors` the
        difference of the shares, after's less before's (0.01: one point).
      low, high: Bounds of its 95 % interval, as it would be without looking more than once.
      p: Two-sided, of the Wilcoxon signed-rank test over the pairs; of `errors` of the exact sign-flip test of the sum
        of failures.
      detectable: Smallest change that these rounds would find four times of five.
      verdict: At the level that is left after all looks and all metrics.
      advisory: It does not count for the comparison's verdict: it is undecided or the same, and of the tail, of what
        failed in one kind among several, or of a kind with fewer than 20 requests a round. Once such a metric is proven
        better or worse, at its part of the chance of a false alarm, it counts.
    """

    kind: str
    metric: str
    before: float
    after: float
    change: float
    low: float
    high: float
    p: float
    detectable: float
    verdict: Verdict
    advisory: bool = False


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing two versions of a service has said.

    Attributes:
      before, after: What they are: `app:app`, a URL, a revision.
      threshold: Changes smaller than this do not matter (relative).
      rounds: Pairs that were judged.
      discarded: Pairs that were measured while a side was warming up, or were spoilt.
      seconds: How long it took.
      changes: By kind in the plan's order, by metric in that of METRICS.
      verdict: WORSE if a change that is not advisory is worse; else BETTER if one is, and none that is undecided looks
        worse (by `threshold` or more, or with its interval above 0); else SAME if all are; else UNDECIDED.
      problems: Why nothing can be said: a check that failed.
      partial: It was interrupted: what was known until then.
      notes: What a reader should know, a line each.
      more_rounds: About how many more pairs it takes to see a change of `threshold` in all that hold the verdict up;
        None if that cannot be told.
      pairs: What it was judged by.
      environment: What it ran on, by what it is: `python`, `cpus`, `hasten`.
    """

    before: str
    after: str
    threshold: float
    rounds: int
    discarded: int
    seconds: float
    changes: tuple[Change, ...]
    verdict: Verdict
    problems: tuple[Problem, ...] = ()
    partial: bool = False
    notes: tuple[str, ...] = ()
    more_rounds: int | None = None
    pairs: tuple[Pair, ...] = ()
    environment: dict[str, str] = {}

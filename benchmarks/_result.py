"""What a run says, as JSON and for the tables: rows, ratios, budgets, environment."""

import msgspec

from benchmarks._budgets import FEWEST_ROUNDS, Budget, Verdict, judge
from benchmarks._environment import Environment
from benchmarks._harness import Benchmark, Role
from benchmarks._statistics import Samples


class Row(msgspec.Struct, frozen=True):
    """One subject's metric: the median over the rounds, `low` and `high` the quartiles."""

    subject: str
    metric: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int


class Result(msgspec.Struct, frozen=True):
    """One benchmark's outcome.

    Attributes:
      rows: Also the ratios with their spread: subject `default/bare`, unit `x`.
      ratios: `<subject>/<peer> <metric>` to the median of the ratios per round.
    """

    benchmark: str
    environment: Environment
    rows: tuple[Row, ...]
    ratios: dict[str, float]
    budgets: tuple[Verdict, ...]


def make_result(
    benchmark: Benchmark, environment: Environment, samples: Samples, budgets: tuple[Budget, ...], rounds: int
) -> Result:
    """Condense the `rounds` of `benchmark`, whose `budgets` these are."""
    ratio_rows = _ratio_rows(benchmark, samples)
    return Result(
        benchmark=benchmark.name,
        environment=environment,
        rows=(*_subject_rows(benchmark, samples), *ratio_rows),
        ratios={f"{row.subject} {row.metric}": row.median for row in ratio_rows},
        budgets=judge(budgets, samples, min(rounds, FEWEST_ROUNDS)),
    )


def comparisons(benchmark: Benchmark) -> list[tuple[str, str]]:
    """Return the pairs to divide: each of ours by peers and limit, each peer by the limit."""
    by_role = {role: [s.name for s in benchmark.subjects if s.role is role] for role in Role}
    limits = by_role[Role.LIMIT]
    ours = [(name, other) for name in by_role[Role.OURS] for other in (*limits, *by_role[Role.PEER])]
    return ours + [(name, limit) for name in by_role[Role.PEER] for limit in limits]


def _subject_rows(benchmark: Benchmark, samples: Samples) -> list[Row]:
    order = {subject.name: place for place, subject in enumerate(benchmark.subjects)}
    rows: list[Row] = []
    for subject, metric in sorted(samples, key=lambda pair: (pair[1].rpartition(" ")[0], order[pair[0]])):
        summary = samples.summary(subject, metric)
        if summary is not None:
            unit = benchmark.units[metric.rpartition(" ")[2]]
            rows.append(Row(subject, metric, unit, summary.median, summary.low, summary.high, summary.rounds))
    return rows


def _ratio_rows(benchmark: Benchmark, samples: Samples) -> list[Row]:
    metrics = sorted({metric for _, metric in samples})
    rows: list[Row] = []
    for subject, peer in comparisons(benchmark):
        for metric in metrics:
            summary = samples.ratio(subject, peer, metric)
            if summary is not None:
                pair = f"{subject}/{peer}"
                rows.append(Row(pair, metric, "x", summary.median, summary.low, summary.high, summary.rounds))
    return rows

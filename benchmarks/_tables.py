"""A result for people: one table a case, then the budgets, then how far to trust it."""

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks._environment import Environment
from benchmarks._harness import Benchmark, Role, Subject
from benchmarks._result import Result, Row

_TRUST = (
    "Medians of {rounds} rounds, quartiles below them; ratios are taken in each round. On a shared machine "
    "CPU per operation and ratios within one run can be trusted; single timings, and p99 above all, cannot."
)
Rows = dict[tuple[str, str], Row]
"""By subject (or pair) and metric."""
_METRICS = 3
# Seven columns in 80 characters.
_TIGHT: dict[str, Any] = {"show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}


def print_result(console: Console, benchmark: Benchmark, result: Result) -> None:
    """Print everything about one benchmark."""
    console.print(f"[bold]{benchmark.name}[/]: {benchmark.summary}")
    _print_environment(console, result.environment)
    cases = list(dict.fromkeys(row.metric.rpartition(" ")[0] for row in result.rows))
    for name in result.environment.conditions.keys() - cases:
        console.print(f"{name}: {result.environment.conditions[name]}")
    for case in cases:
        condition = result.environment.conditions.get(case, "")
        for table in _case_tables(benchmark, result, case, f"{case}: {condition}" if condition else case):
            console.print()
            console.print(table)
    if result.budgets:
        console.print()
        console.print(_budget_table(result))
        console.print()
    rounds = max((row.rounds for row in result.rows), default=0)
    console.print(_TRUST.format(rounds=rounds), style="dim")


def _print_environment(console: Console, environment: Environment) -> None:
    console.print(f"{environment.python}, {environment.cpu}, {environment.cores} cores, Linux {environment.kernel}")
    console.print(f"{environment.pinning}; load average {environment.load_average:.1f}; seed {environment.seed}")
    console.print(", ".join(f"{package} {version}" for package, version in environment.versions.items()))


def _case_tables(benchmark: Benchmark, result: Result, case: str, title: str) -> Iterator[Table]:
    """Yield the tables of a case; only the first has the title."""
    rows = {(row.subject, row.metric): row for row in result.rows if row.metric.rpartition(" ")[0] == case}
    metrics = [metric for metric in benchmark.units if any(key[1] == f"{case} {metric}" for key in rows)]
    for start in range(0, len(metrics), _METRICS):
        table = Table(title_justify="left", title_style="bold", box=SIMPLE_HEAD, **_TIGHT)
        table.title = None if start else title
        _fill(table, benchmark, rows, case, metrics[start : start + _METRICS])
        yield table


def _fill(table: Table, benchmark: Benchmark, rows: Rows, case: str, metrics: list[str]) -> None:
    subjects = [subject for subject in benchmark.subjects if any(key[0] == subject.name for key in rows)]
    other = _compared_with(subjects)
    table.add_column("subject", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{metric} {benchmark.units[metric]}", justify="right")
        table.add_column(f"x {other}" if other else "", justify="right")
    for subject in subjects:
        cells = (_cells(rows, subject.name, other, f"{case} {metric}") for metric in metrics)
        table.add_row(_label(subject.name, subject.role), *(cell for pair in cells for cell in pair))


def _compared_with(subjects: list[Subject]) -> str:
    """Return whom the others are divided by: the limit, or the first peer where the limit was not measured."""
    for role in (Role.LIMIT, Role.PEER):
        for subject in subjects:
            if subject.role is role:
                return subject.name
    return ""


def _label(name: str, role: Role) -> str:
    return f"[bold]{name}[/]" if role is Role.OURS else f"{name} (limit)" if role is Role.LIMIT else name


def _cells(rows: Rows, subject: str, other: str, metric: str) -> tuple[str, str]:
    figure = rows.get((subject, metric))
    ratio = rows.get((f"{subject}/{other}", metric))
    return _spread(figure) if figure else "", _spread(ratio) if ratio else ""


def _spread(row: Row) -> str:
    """Return the median over the quartiles in two lines."""
    if row.unit == "x":
        return f"{row.median:.3f}\n[dim]{_figure(row.low)}-{_figure(row.high)}[/]"
    median = f"{row.median:.0f}" if row.median >= 100 else _figure(row.median)
    return f"{median}\n[dim]{_figure(row.low)}-{_figure(row.high)}[/]"


def _figure(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _budget_table(result: Result) -> Table:
    table = Table(title="budgets", title_justify="left", title_style="bold", box=SIMPLE_HEAD, **_TIGHT)
    for column in ("budget", "goal", "measured", ""):
        table.add_column(column, justify="right" if column == "measured" else "left")
    for budget in result.budgets:
        verdict = "[green]holds[/]" if budget.holds else "[bold red]does not hold[/]"
        table.add_row(budget.name, budget.goal, f"{budget.measured:.3f}", verdict)
    return table

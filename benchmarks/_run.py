"""One benchmark from start to result: the environment, the rounds with their progress, the verdicts."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks._budgets import Budget
from benchmarks._environment import observe
from benchmarks._harness import Benchmark, Effort, Prepared, run_rounds
from benchmarks._processes import Cores, pinned
from benchmarks._result import Result, make_result
from hasten._core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for.

    Attributes:
      seed: Decides the order of subjects in each round.
    """

    effort: Effort
    seed: int
    budgets: tuple[Budget, ...]

    def budgets_of(self, benchmark: Benchmark) -> tuple[Budget, ...]:
        """Return the budgets that `benchmark` is to hold."""
        return tuple(budget for budget in self.budgets if budget.benchmark == benchmark.name)


def run(benchmark: Benchmark, order: Order, messages: Console) -> Result:
    """Measure `benchmark` and judge it; this process stays on the client's core in the rounds.

    Raises:
      ConfigurationError: an unknown subject or case, or a peer that is not installed.
      TargetUnreachable: a process did not start or ended early.
      InvalidMeasurement: a subject failed requests or did not keep up.
    """
    subjects = order.effort.choose(benchmark.subjects)
    _check_names(benchmark, order.effort)
    packages = dict.fromkeys((*(s.package for s in subjects if s.package), *benchmark.packages))
    environment = observe(tuple(packages), order.seed)
    source = random.Random(order.seed)
    # Pinned after prepare, which asks for the cores that this process may use: pinned, it has one.
    with benchmark.prepare(order.effort) as prepared, pinned(Cores.available().client):
        chosen = _choose_cases(prepared, order.effort)
        total = sum(trial.turns for trial in chosen.trials) * order.effort.rounds
        with _progress(messages, benchmark.name, total) as done:
            samples = run_rounds(chosen.trials, order.effort.rounds, source, done)
        environment = msgspec.structs.replace(environment, conditions={**chosen.conditions, **chosen.remarks()})
    return make_result(benchmark, environment, samples, order.budgets_of(benchmark), order.effort.rounds)


def _check_names(benchmark: Benchmark, effort: Effort) -> None:
    known = [subject.name for subject in benchmark.subjects]
    for name in effort.only:
        if name not in known:
            problem = f"{benchmark.name} has no subject {name!r}"
            raise ConfigurationError("--only", problem, f"choose from: {', '.join(known)}")


def _choose_cases(prepared: Prepared, effort: Effort) -> Prepared:
    """Return what is to be measured of it."""
    cases = dict.fromkeys(trial.case for trial in prepared.trials)
    left_out = {case for case in cases if not effort.measures(case)}
    if left_out == cases.keys():
        problem = f"no case is named {' or '.join(effort.cases)}"
        raise ConfigurationError("--cases", problem, f"choose from: {', '.join(cases)}")
    conditions = {name: text for name, text in prepared.conditions.items() if name not in left_out}
    trials = tuple(trial for trial in prepared.trials if trial.case not in left_out)
    return replace(prepared, trials=trials, conditions=conditions)


@contextmanager
def _progress(messages: Console, name: str, total: int) -> Iterator[Callable[[], object]]:
    """Yield what advances the bar by one; there is a bar on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    options = {"transient": True, "disable": not messages.is_terminal}
    with Progress(*columns, console=messages, refresh_per_second=2, **options) as progress:  # type: ignore[arg-type]
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)

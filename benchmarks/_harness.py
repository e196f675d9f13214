"""Rounds: all subjects are measured in each, in short turns of random order: a busy moment hurts all alike.

A benchmark is a description (`Benchmark`) and a `prepare` that starts what it needs and yields `Trial`s; a
trial measures one subject in one case. All that is common to benchmarks, from order to ratios, happens here
and in `_statistics.py`.
"""

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from benchmarks._statistics import Samples


class Role(StrEnum):
    """What a subject is in the comparison."""

    OURS = "ours"
    PEER = "peer"
    LIMIT = "limit"
    """What no implementation can beat: the same work without the thing that is measured."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One competitor of a benchmark.

    Attributes:
      about: How it is set up, in half a line.
      package: The distribution whose version is printed; empty for none.
    """

    name: str
    role: Role
    about: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure.

    Attributes:
      rounds: Interleaved rounds.
      quick: Shorter trials, so that a benchmark takes less than a minute.
      only: Names of the subjects to run; empty for all.
      cases: Patterns of the cases to measure, as of a shell; empty for all.
    """

    rounds: int
    quick: bool = False
    only: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()

    def choose(self, subjects: tuple[Subject, ...]) -> tuple[Subject, ...]:
        """Return those of `subjects` that are to run."""
        return tuple(subject for subject in subjects if not self.only or subject.name in self.only)

    def measures(self, case: str) -> bool:
        """Tell whether `case` is to be measured."""
        return not self.cases or any(fnmatchcase(case, pattern) for pattern in self.cases)


class Trial(Protocol):
    """One subject in one case, ready to be measured.

    Attributes:
      turns: Short measurements that make up a round; the same for all trials of a case.
    """

    subject: str
    case: str

    @property
    def turns(self) -> int: ...

    def turn(self, seed: int) -> None:
        """Measure once; equal seeds mean equal load, so that all subjects of a turn get the same."""
        ...

    def figures(self) -> Mapping[str, float]:
        """Return a value for each metric, from all turns since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` yields.

    Attributes:
      conditions: What the benchmark chose for this run, by case, for example rates and durations.
      remarks: Asked after the last round for what else a reader must know, by a name of its choice.
    """

    trials: tuple[Trial, ...]
    conditions: Mapping[str, str] = field(default_factory=dict)
    remarks: Callable[[], Mapping[str, str]] = dict


class Benchmark(Protocol):
    """A benchmark, one small module each.

    Attributes:
      name: What the user types.
      summary: One line for `--list`.
      subjects: Everything compared; exactly one has `Role.LIMIT`.
      units: Unit of each metric that trials return.
      packages: Further distributions whose version matters.
    """

    name: str
    summary: str
    subjects: tuple[Subject, ...]
    units: Mapping[str, str]
    packages: tuple[str, ...]

    def prepare(self, effort: Effort) -> AbstractContextManager[Prepared]:
        """Start, warm up and yield the trials; leaving ends everything that was started."""
        ...


def run_rounds(trials: tuple[Trial, ...], rounds: int, source: random.Random, done: Callable[[], object]) -> Samples:
    """Measure every trial in each round.

    The trials of a case take turns, several of them a round, since their ratios are what counts and the
    machine changes within seconds; the order of cases in a round, and of subjects in a turn, is random.

    Args:
      done: Called after each turn of a trial.
    """
    samples = Samples()
    by_case = [list(group) for _, group in groupby(sorted(trials, key=attrgetter("case")), attrgetter("case"))]
    for number in range(rounds):
        source.shuffle(by_case)
        for group in by_case:
            _take_turns(group, source, done)
            for trial in group:
                for metric, value in trial.figures().items():
                    samples.add(number, trial.subject, f"{trial.case} {metric}", value)
    return samples


def _take_turns(group: list[Trial], source: random.Random, done: Callable[[], object]) -> None:
    for _ in range(group[0].turns):
        seed = source.getrandbits(31)
        source.shuffle(group)
        for trial in group:
            trial.turn(seed)
            done()

"""Budgets: the limits that `budgets.toml` sets, and whether a run holds them.

One table for each:

    [[budget]]
    name = "ledger at default sampling: CPU per request"
    benchmark = "ledger"
    ratio = "default/bare/hello cpu"     # subject/peer/metric, the median of the ratios per round
    at-most = 1.03                       # or at-least

`value = "subject/metric"` instead of `ratio` bounds the median itself, in the metric's unit.
"""

from pathlib import Path
from typing import Self

import msgspec

from benchmarks._statistics import Samples, Summary
from hasten._core.errors import ConfigurationError

BUDGETS = Path(__file__).with_name("budgets.toml")
FEWEST_ROUNDS = 5
"""A verdict needs as many rounds."""


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """One limit; exactly one of `ratio` and `value`, and one of `at_most` and `at_least`, is given."""

    name: str
    benchmark: str
    ratio: str = ""
    value: str = ""
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        parts = len(self.ratio.split("/")) if self.ratio else len(self.value.split("/")) + 1
        if bool(self.ratio) == bool(self.value) or parts != 3:
            raise ValueError(f"budget {self.name!r} needs ratio = 'subject/peer/metric' or value = 'subject/metric'")
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"budget {self.name!r} needs either at-most or at-least")

    @property
    def goal(self) -> str:
        """The bound in words: `at most 1.03`."""
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"

    def measured(self, samples: Samples) -> Summary | None:
        """Return what the run says about it; None when the run did not measure it."""
        if self.ratio:
            subject, peer, metric = self.ratio.split("/")
            return samples.ratio(subject, peer, metric)
        subject, metric = self.value.split("/")
        return samples.summary(subject, metric)

    def allows(self, figure: float) -> bool:
        """Say whether `figure` is within the bound."""
        return (self.at_most is None or figure <= self.at_most) and (self.at_least is None or figure >= self.at_least)


class Verdict(msgspec.Struct, frozen=True):
    """One budget judged: its goal in words, the median that was measured, and whether it holds."""

    name: str
    goal: str
    measured: float
    holds: bool


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    budget: tuple[Budget, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        return msgspec.toml.decode(path.read_bytes(), type=cls)


def read_budgets(path: Path = BUDGETS) -> tuple[Budget, ...]:
    """Read the budgets of all benchmarks.

    Raises:
      ConfigurationError: the file is absent or says something else than budgets.
    """
    try:
        return _File.read(path).budget
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(str(path), str(error)) from None


def judge(budgets: tuple[Budget, ...], samples: Samples, rounds: int = FEWEST_ROUNDS) -> tuple[Verdict, ...]:
    """Judge each budget by the median over the rounds; those measured in fewer than `rounds` are left out."""
    judged = ((budget, budget.measured(samples)) for budget in budgets)
    return tuple(
        Verdict(budget.name, budget.goal, summary.median, budget.allows(summary.median))
        for budget, summary in judged
        if summary is not None and summary.rounds >= rounds
    )

"""`python -m benchmarks.compare_power`: how often `hasten compare` is right, in thousands of simulated comparisons.

What a round of either side gives is drawn with the noise that real rounds had (half-second rounds of a FastAPI service
at 250/s on a shared machine): the log ratio of a pair has a standard deviation of 17 % for p50 (12 % without its far
tails), 14 (9) % for CPU per request, 56 % for p90, 72 % for p99. Tails are as long as those of a t distribution with 3
degrees of freedom; two thirds of it are common to all metrics of a round, and the machine's ups and downs are common
to both sides. The judge is the one that `hasten compare` uses, fed pair by pair until it has decided.
"""

import itertools
import math
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Annotated

import typer

from hasten.compare import KindRound, Pair, Round, Verdict
from hasten.compare._judge import Decision, Judge

_OFFERED = 125
_FAILING = 0.001
_COMMON = 2 / 3  # of the variance: what a round has in all of its metrics
_FREEDOM = 3
_SPREAD = {"p50": 0.17, "p90": 0.56, "p99": 0.72, "cpu": 0.14}
_TYPICAL = {"p50": 0.002, "p90": 0.004, "p99": 0.009, "cpu": 0.0006}
_ALL = tuple(_SPREAD)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is compared with what.

    Attributes:
      name: As it is shown.
      slower: Factor from before to after, of `metrics`.
      kinds: Kinds of requests.
      noise: Factor of the noise that was measured.
      failing: Share of after's requests that fail besides the 0.1 % of both.
      cold: How much slower after's first round is than its last; a third of it goes from pair to pair.
    """

    name: str
    slower: float = 1.0
    metrics: tuple[str, ...] = _ALL
    kinds: int = 3
    noise: float = 1.0
    failing: float = 0.0
    cold: float = 0.0


SCENARIOS = (
    Scenario("the same, 1 kind", kinds=1),
    Scenario("the same, 3 kinds"),
    Scenario("the same, 10 kinds", kinds=10),
    Scenario("the same, half the noise", noise=0.5),
    Scenario("the same, twice the noise", noise=2),
    Scenario("the same, after starts 2x slower", cold=1.0),
    Scenario("2.5 % slower", 1.025),
    Scenario("5 % slower", 1.05),
    Scenario("5 % slower, half the noise", 1.05, noise=0.5),
    Scenario("10 % slower", 1.1),
    Scenario("10 % slower, twice the noise", 1.1, noise=2),
    Scenario("5 % more CPU alone", 1.05, ("cpu",)),
    Scenario("10 % more CPU alone", 1.1, ("cpu",)),
    Scenario("10 % more CPU alone, 10 kinds", 1.1, ("cpu",), kinds=10),
    Scenario("10 % faster, 1 kind", 1 / 1.1, kinds=1),
    Scenario("10 % faster, 3 kinds", 1 / 1.1),
    Scenario("p90 and p99 2x slower", 2.0, ("p90", "p99")),
    Scenario("1 % more fail", failing=0.01),
)


class Machine:
    """Draws pairs of rounds."""

    def __init__(self, scenario: Scenario, seed: str) -> None:
        self._scenario = scenario
        self._random = random.Random(seed)
        self._weather = 0.0

    def pairs(self) -> Iterator[Pair]:
        """Yield pairs for ever."""
        scenario = self._scenario
        after = {metric: scenario.slower if metric in scenario.metrics else 1.0 for metric in _ALL}
        for number in itertools.count():
            self._weather = 0.7 * self._weather + self._random.gauss(0, 0.1)
            cold = 1 + scenario.cold * (2 / 3) ** number
            yield Pair(
                seed=number,
                before_first=self._random.random() < 0.5,
                before=self._round(dict.fromkeys(_ALL, 1.0), 0.0),
                after=self._round({metric: factor * cold for metric, factor in after.items()}, scenario.failing),
            )

    def _round(self, factors: dict[str, float], failing: float) -> Round:
        common = self._long_tailed()
        values = [
            {metric: _TYPICAL[metric] * factors[metric] * self._noise(metric, common) for metric in _ALL}
            for _ in range(self._scenario.kinds)
        ]
        kinds = (
            KindRound(f"kind {number}", _OFFERED, self._failed(failing), value["p50"], value["p90"], value["p99"])
            for number, value in enumerate(values, 1)
        )
        return Round(tuple(kinds), values[0]["cpu"], lateness_p99=0.0001)

    def _failed(self, share: float) -> int:
        """Return how many of a round's requests fail, each by itself, from gap to gap: most do not."""
        scale = math.log1p(-share - _FAILING)
        failed, place = 0, math.log(1 - self._random.random()) // scale
        while place < _OFFERED:
            failed, place = failed + 1, place + 1 + math.log(1 - self._random.random()) // scale
        return failed

    def _noise(self, metric: str, common: float) -> float:
        """Return a factor; the logarithm of the ratio of two has the metric's spread."""
        own = math.sqrt(_COMMON) * common + math.sqrt(1 - _COMMON) * self._long_tailed()
        return math.exp(self._weather + self._scenario.noise * _SPREAD[metric] / math.sqrt(2) * own)

    def _long_tailed(self) -> float:
        """Return a value of Student's t, in standard deviations."""
        chi_squared = self._random.gammavariate(_FREEDOM / 2, 2)
        return self._random.gauss(0, 1) * math.sqrt((_FREEDOM - 2) / chi_squared)


def decide(scenario: Scenario, pairs: int, seed: int) -> tuple[Decision, int]:
    """Return what a comparison with a budget of so many pairs comes to, and how many it took."""
    judge = Judge()
    for number, pair in enumerate(Machine(scenario, f"{scenario.name}:{seed}").pairs(), 1):
        judge.add(pair)
        decision = judge.look(number / pairs)
        if decision.decided:
            break
    return decision, number


def row(scenario: Scenario, pairs: int, tries: int, seed: int) -> list[str]:
    """Return a row of the table: shares of the verdicts, the CPU's among them, and how many pairs it took."""
    outcomes = [decide(scenario, pairs, seed * tries + number) for number in range(tries)]
    verdicts = [decision.verdict for decision, _ in outcomes]
    cpu = [next(change for change in decision.changes if change.metric == "cpu") for decision, _ in outcomes]
    took = [number for _, number in outcomes]
    return [
        scenario.name,
        *(f"{verdicts.count(verdict) / tries:.1%}" for verdict in Verdict),
        f"{median(took):.0f}, {quantiles(took, n=10, method='inclusive')[-1]:.0f}",
        f"{median(change.detectable for change in cpu):.1%}",
    ]


HEADER = ["after is", *(verdict.value for verdict in Verdict), "pairs: half, 9 of 10 within", "visible in CPU"]


def main(
    pairs: Annotated[int, typer.Option(help="The budget, in pairs; a minute is 20 to 40.", min=10)] = 60,
    tries: Annotated[int, typer.Option(help="Comparisons for each row.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = os.cpu_count() or 1,
) -> None:
    """Print a table in Markdown: how often each verdict comes."""
    _print([HEADER, ["---", *["---:"] * (len(HEADER) - 1)]])
    with ProcessPoolExecutor(jobs) as pool:
        _print(pool.map(partial(row, pairs=pairs, tries=tries, seed=seed), SCENARIOS))


def _print(rows: Iterable[Sequence[str]]) -> None:
    for cells in rows:
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)

import itertools
import math
from statistics import stdev

import pytest

from benchmarks.compare_power import HEADER, SCENARIOS, Machine, Scenario, decide, row
from hasten.compare import Verdict


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario_comes_to_a_decision(scenario: Scenario) -> None:
    """Every scenario is decided, by the end of its budget at the latest."""
    decision, took = decide(scenario, pairs=20, seed=1)
    assert decision.decided
    assert took <= 20


def test_noise_is_what_was_measured() -> None:
    """The log ratios of CPU have a standard deviation of about 14 %, whatever the machine's weather."""
    pairs = itertools.islice(Machine(Scenario("the same"), "noise").pairs(), 4000)
    assert stdev(math.log(pair.after.cpu / pair.before.cpu) for pair in pairs) == pytest.approx(0.14, rel=0.25)


def test_failures_have_the_share_asked_for() -> None:
    """After's requests fail by its share besides the one in a thousand of both."""
    pairs = list(itertools.islice(Machine(Scenario("1 % more fail", failing=0.01, kinds=1), "fail").pairs(), 4000))
    assert sum(pair.after.kinds[0].failed for pair in pairs) / 500_000 == pytest.approx(0.011, rel=0.1)
    assert sum(pair.before.kinds[0].failed for pair in pairs) / 500_000 == pytest.approx(0.001, rel=0.3)


def test_same_seed_gives_the_same_row() -> None:
    """A table can be made again: what is drawn depends on the scenario and the seed alone."""
    scenario = Scenario("30 % slower", 1.3, kinds=1, noise=0.5)
    cells = row(scenario, pairs=20, tries=4, seed=7)
    assert cells == row(scenario, pairs=20, tries=4, seed=7)
    assert len(cells) == len(HEADER)
    assert cells[1 + list(Verdict).index(Verdict.WORSE)] == "100.0%"


def test_false_alarms_are_rare() -> None:
    """Of 40 comparisons of a service with itself at most 4 find a difference (two of a hundred do)."""
    scenario = Scenario("the same", kinds=1, noise=0.5)
    verdicts = [decide(scenario, pairs=30, seed=seed)[0].verdict for seed in range(40)]
    assert sum(verdict in (Verdict.BETTER, Verdict.WORSE) for verdict in verdicts) <= 4

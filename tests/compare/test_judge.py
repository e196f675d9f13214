import math
from collections.abc import Callable, Iterable

import msgspec
import pytest

from hasten._core.errors import ConfigurationError
from hasten.compare import Change, Decision, Judge, KindRound, Pair, Verdict
from hasten.compare._changes import overall
from hasten.load import Problem
from tests.compare.pairs import LATE, pairs_of, round_of


def judged(pairs: Iterable[Pair], budget: int = 60, threshold: float = 0.05) -> Decision:
    """Return what a comparison that is fed pair by pair comes to."""
    judge = Judge(threshold=threshold)
    for number, pair in enumerate(pairs, 1):
        judge.add(pair)
        decision = judge.look(number / budget)
        if decision.decided:
            return decision
    return judge.look(1.0)


def change_of(decision: Decision, metric: str, kind: str = "kind 1") -> Change:
    """Return one metric's."""
    return next(change for change in decision.changes if (change.kind, change.metric) == (kind, metric))


def altered(pairs: list[Pair], alter: Callable[[int, KindRound], KindRound]) -> list[Pair]:
    """Return pairs whose after side has altered kinds."""
    return [
        msgspec.structs.replace(
            pair,
            after=msgspec.structs.replace(pair.after, kinds=tuple(alter(number, kind) for kind in pair.after.kinds)),
        )
        for number, pair in enumerate(pairs)
    ]


def renamed(kinds: Iterable[KindRound]) -> tuple[KindRound, ...]:
    """Return kinds of one name."""
    return tuple(msgspec.structs.replace(kind, name="GET /") for kind in kinds)


def test_slower_is_worse_and_found_early() -> None:
    """A service that is 10 % slower is worse, by about that, long before the budget is spent."""
    decision = judged(pairs_of(60, 1.1, noise=0.06))
    assert decision.verdict is Verdict.WORSE
    assert decision.rounds < 40
    cpu = change_of(decision, "cpu", "")
    assert cpu.low < 0.1 < cpu.high
    assert cpu.p < 0.001


def test_faster_is_better() -> None:
    """A service that is 10 % faster is better in latency and CPU."""
    decision = judged(pairs_of(60, 1 / 1.1, noise=0.06))
    assert decision.verdict is Verdict.BETTER
    assert {change_of(decision, "p50").verdict, change_of(decision, "cpu", "").verdict} == {Verdict.BETTER}


def test_same_lies_within_the_threshold() -> None:
    """Of two like services each interval that counts ends up within the threshold, and measuring ends there."""
    decision = judged(pairs_of(60, noise=0.06))
    assert decision.verdict is Verdict.SAME
    assert decision.rounds < 60
    for change in decision.changes:
        if change.metric in ("p50", "cpu"):
            assert -0.05 < change.low < change.high < 0.05


def test_small_but_certain_is_the_same() -> None:
    """A change of 1 % is no change where changes below 5 % do not matter, however small its p is."""
    decision = judged(pairs_of(60, 1.01, noise=0.005))
    assert decision.verdict is Verdict.SAME
    assert change_of(decision, "cpu", "").p < 0.001


def test_too_noisy_is_undecided_and_says_what_it_takes() -> None:
    """Noise of 40 % hides a change of 5 %: undecided, with what could have been seen and how many more pairs to add."""
    decision = judged(pairs_of(60, noise=0.4))
    assert decision.verdict is Verdict.UNDECIDED
    assert decision.decided
    assert 0.1 < change_of(decision, "cpu", "").detectable < 0.3
    assert decision.more_rounds is not None
    assert 200 < decision.more_rounds < 3000


def test_sides_swapped_turn_the_verdict() -> None:
    """What is better one way is worse the other, with the same p."""
    pairs = pairs_of(60, 1.12, noise=0.08)
    swapped = [Pair(pair.seed, not pair.before_first, pair.after, pair.before) for pair in pairs]
    one, other = judged(pairs), judged(swapped)
    assert change_of(one, "cpu", "").p == change_of(other, "cpu", "").p or one.rounds != other.rounds
    assert (one.verdict, other.verdict) == (Verdict.WORSE, Verdict.BETTER)


def test_one_kind_that_is_slower_makes_it_worse() -> None:
    """A kind 15 % slower is named, though the others and CPU are as they were."""
    pairs = altered(
        pairs_of(60, kinds=3, noise=0.05),
        lambda _, kind: msgspec.structs.replace(kind, p50=kind.p50 * 1.15) if kind.name == "kind 2" else kind,
    )
    decision = judged(pairs)
    assert decision.verdict is Verdict.WORSE
    assert change_of(decision, "p50", "kind 2").verdict is Verdict.WORSE
    assert change_of(decision, "p50", "kind 1").verdict is not Verdict.WORSE


def test_slower_tail_is_worse_when_it_is_proven() -> None:
    """A p99 that has doubled counts once it is proven, though it is advisory while it is not."""
    twice = altered(pairs_of(60, noise=0.1), lambda _, kind: msgspec.structs.replace(kind, p99=kind.p99 * 2))
    decision = judged(twice)
    assert decision.verdict is Verdict.WORSE
    assert not change_of(decision, "p99").advisory
    assert change_of(judged(pairs_of(60, noise=0.06)), "p99").advisory


def test_noisy_tail_holds_nothing_up() -> None:
    """A p99 that nothing can be said of leaves a comparison of like services the same."""
    noisy = altered(
        pairs_of(60, noise=0.05),
        lambda number, kind: msgspec.structs.replace(kind, p99=kind.p99 * (3 if number * 7 % 5 < 2 else 0.4)),
    )
    decision = judged(noisy)
    assert decision.verdict is Verdict.SAME
    assert change_of(decision, "p99").verdict is Verdict.UNDECIDED


def test_better_outweighs_what_is_merely_unknown() -> None:
    """A service that takes a third less CPU is better, though one kind's noise hides what became of its median."""
    pairs = altered(
        pairs_of(60, 0.67, kinds=2, noise=0.03),
        lambda number, kind: (
            msgspec.structs.replace(kind, p50=0.004 * math.exp(0.5 * math.sin(number * 7.0)))
            if kind.name == "kind 2"
            else kind
        ),
    )
    decision = judged(pairs)
    assert change_of(decision, "p50", "kind 2").verdict is Verdict.UNDECIDED
    assert decision.verdict is Verdict.BETTER
    assert decision.rounds == 60  # it went on to find out


def test_what_may_be_the_price_keeps_it_undecided() -> None:
    """A service that takes less CPU while one kind looks 15 % slower, unproven, is not called better."""
    pairs = altered(
        pairs_of(60, 0.67, kinds=2, noise=0.03),
        lambda number, kind: (
            msgspec.structs.replace(kind, p50=0.0046 * math.exp(0.9 * math.sin(number * 7.0)))
            if kind.name == "kind 2"
            else kind
        ),
    )
    decision = judged(pairs)
    assert change_of(decision, "p50", "kind 2").change > 0.05
    assert decision.verdict is Verdict.UNDECIDED


def test_rare_kind_holds_nothing_up() -> None:
    """The median of five requests a round is shown, and neither needs to be decided nor is left out when it is."""
    pairs = altered(
        pairs_of(60, kinds=2, noise=0.05),
        lambda number, kind: (
            msgspec.structs.replace(kind, p50=0.004 * math.exp(0.9 * math.sin(number * 7.0)))
            if kind.name == "kind 2"
            else kind
        ),
    )
    rare = [
        msgspec.structs.replace(
            pair,
            before=msgspec.structs.replace(
                pair.before,
                kinds=(pair.before.kinds[0], msgspec.structs.replace(pair.before.kinds[1], offered=5)),
            ),
        )
        for pair in pairs
    ]
    decision = judged(rare)
    assert decision.verdict is Verdict.SAME
    assert change_of(decision, "p50", "kind 2").advisory


def test_more_failures_are_worse() -> None:
    """One request of a hundred that fails anew is found, and shown as a difference of shares."""
    decision = judged(pairs_of(60, noise=0.05, failed=(0, 1)))
    errors = change_of(decision, "errors")
    assert (decision.verdict, errors.verdict) == (Verdict.WORSE, Verdict.WORSE)
    assert [errors.before, errors.after, errors.change] == pytest.approx([0, 0.01, 0.01])


def test_fewer_failures_are_better() -> None:
    """A fix that ends the failures of one request in fifty is better."""
    decision = judged(pairs_of(60, noise=0.05, failed=(2, 0)))
    assert change_of(decision, "errors").verdict is Verdict.BETTER
    assert decision.verdict is Verdict.BETTER


def test_equally_many_failures_are_the_same() -> None:
    """Failures that both sides have alike are no change."""
    assert change_of(judged(pairs_of(60, noise=0.05, failed=(1, 1))), "errors").verdict is Verdict.SAME


def test_a_burst_of_failures_in_one_pair_proves_nothing() -> None:
    """All requests of one round failing is one pair's word, a neighbour's perhaps."""
    pairs = altered(
        pairs_of(30, noise=0.05), lambda number, kind: msgspec.structs.replace(kind, failed=100 if number == 5 else 0)
    )
    assert change_of(judged(pairs, budget=30), "errors").verdict is Verdict.UNDECIDED


def test_failed_kind_is_infinitely_slow() -> None:
    """A kind that no longer answers has infinite latencies; the comparison names it and stays sound."""
    broken = altered(
        pairs_of(60, kinds=2, noise=0.05),
        lambda _, kind: KindRound(kind.name, 100, 100, math.inf, math.inf, math.inf) if kind.name == "kind 2" else kind,
    )
    decision = judged(broken)
    assert decision.verdict is Verdict.WORSE
    p50 = change_of(decision, "p50", "kind 2")
    assert (p50.verdict, p50.change, p50.after) == (Verdict.WORSE, math.inf, math.inf)
    assert change_of(decision, "p50", "kind 1").change == pytest.approx(0, abs=0.1)


def test_kind_that_fails_on_both_sides_has_not_changed() -> None:
    """Infinite on both sides is no difference, and no error of arithmetic."""
    dead = KindRound("kind 1", 100, 100, math.inf, math.inf, math.inf)
    pairs = [
        msgspec.structs.replace(
            pair,
            before=msgspec.structs.replace(pair.before, kinds=(dead,)),
            after=msgspec.structs.replace(pair.after, kinds=(dead,)),
        )
        for pair in pairs_of(60, noise=0.05)
    ]
    p50 = change_of(judged(pairs), "p50")
    assert (p50.change, p50.p) == (0, 1)


def test_unknown_cpu_is_left_out() -> None:
    """Where CPU cannot be known there is no such metric, and latency alone decides."""
    decision = judged(pairs_of(60, noise=0.05, cpu_known=False))
    assert not any(change.metric == "cpu" for change in decision.changes)
    assert decision.verdict is Verdict.SAME


def test_kind_without_requests_in_some_rounds_is_judged_by_the_others() -> None:
    """Pairs in which a kind had no request say nothing of it, and nothing is NaN."""
    pairs = altered(
        pairs_of(60, kinds=2, noise=0.05),
        lambda number, kind: (
            KindRound(kind.name, 0, 0, math.nan, math.nan, math.nan)
            if kind.name == "kind 2" and number % 3 == 0
            else kind
        ),
    )
    change = change_of(judged(pairs), "p50", "kind 2")
    assert not any(map(math.isnan, (change.before, change.after, change.change, change.low, change.high, change.p)))


def test_spoilt_pairs_are_left_out() -> None:
    """A round whose figures cannot be trusted takes its pair with it, however its figures look."""
    pairs = pairs_of(60, noise=0.05)
    for number in range(0, 60, 6):
        pairs[number] = Pair(number, number % 2 > 0, round_of([0.002]), round_of([0.2], cpu=0.1, spoilt=True))
    decision = judged(pairs)
    assert decision.verdict is Verdict.SAME
    assert decision.spoilt > 0
    assert decision.problems == ()


def test_too_many_spoilt_pairs_are_no_measurement() -> None:
    """More than a third of spoilt pairs make the comparison invalid, with the check's name and what to do."""
    pairs = [
        Pair(number, number % 2 > 0, round_of([0.002]), round_of([0.002], spoilt=number % 5 < 2))
        for number in range(60)
    ]
    decision = judged(pairs)
    assert decision.decided
    (problem,) = decision.problems
    assert (problem.check, problem.remedy) == (LATE.check, LATE.remedy)
    assert "pairs were spoilt" in problem.measured
    assert LATE.measured in problem.measured


def test_hopeless_measurement_ends_early() -> None:
    """When most of the first ten pairs are spoilt, the rest of the budget is not wasted."""
    judge = Judge()
    for number in range(10):
        judge.add(Pair(number, number % 2 > 0, round_of([0.002], spoilt=True), round_of([0.002])))
    decision = judge.look(0.1)
    assert decision.decided
    assert decision.problems[0].check == LATE.check
    assert judge.pairs == ()


def test_cold_pairs_are_left_out() -> None:
    """A side that warms up over the first pairs is judged by what it does afterwards."""
    cold = [1 + (2 / 3) ** number for number in range(15)]
    decision = judged(pairs_of(60, noise=0.06, cold=cold))
    assert decision.verdict is Verdict.SAME
    assert decision.warming > 0


def test_drift_is_told() -> None:
    """A service that gets slower all the time, beside the other, is noted: its change is an average."""
    judge = Judge()
    for pair in pairs_of(60, noise=0.03, cold=[1 + 0.001 * number for number in range(60)]):
        judge.add(pair)
    assert any("kept moving" in note for note in judge.look(1.0).notes)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
def test_few_pairs_prove_nothing(count: int) -> None:
    """With a handful of pairs at the end of the budget nothing is decided, whatever they show, and that is said."""
    decision = judged(pairs_of(count, 3.0), budget=1000)
    assert decision.decided
    assert decision.verdict is Verdict.UNDECIDED or count >= 7
    assert any(str(count) in note for note in decision.notes)


def test_looks_are_taken_when_enough_has_come() -> None:
    """Between looks the last decision is said again; the last look is always taken."""
    judge = Judge()
    pairs = pairs_of(30, noise=0.3)
    for pair in pairs[:15]:
        judge.add(pair)
    first = judge.look(0.15)
    judge.add(pairs[15])
    assert judge.look(0.16) is first
    assert judge.look(0.16, last=True).rounds == 16
    assert judge.look(1.0).decided


def test_looking_again_at_the_same_pairs_is_one_look() -> None:
    """The last look at the pairs of the look before replaces it, and so has the rest of the chance of being wrong."""
    judge = Judge()
    for pair in pairs_of(15, 1.1, noise=0.1):
        judge.add(pair)
    assert change_of(judge.look(0.15), "cpu", "").verdict is Verdict.UNDECIDED
    once = Judge()
    for pair in pairs_of(15, 1.1, noise=0.1):
        once.add(pair)
    assert judge.look(1.0) == once.look(1.0)


def test_interrupted_comparison_is_as_strict_as_ever() -> None:
    """Who stops early gets the level of that moment and not what is left of the whole budget."""
    pairs = pairs_of(20, 1.06, noise=0.08)
    early, late = Judge(), Judge()
    for pair in pairs:
        early.add(pair)
        late.add(pair)
    assert early.look(0.1, last=True).verdict is Verdict.UNDECIDED
    assert late.look(1.0).verdict is Verdict.WORSE


def test_comparison_of_many_pairs_stays_small() -> None:
    """Six hundred pairs are judged, without keeping 180,000 averages for each metric."""
    judge = Judge()
    for pair in pairs_of(600, kinds=4, noise=0.1):
        judge.add(pair)
    assert judge.look(1.0).verdict is Verdict.SAME


def test_two_kinds_of_one_name_are_two() -> None:
    """Kinds that share a name are judged each by its own figures."""
    pairs = altered(
        pairs_of(60, kinds=2, noise=0.05),
        lambda _, kind: msgspec.structs.replace(kind, p50=kind.p50 * 1.3 if kind.name == "kind 2" else kind.p50),
    )
    named = altered(pairs, lambda _, kind: msgspec.structs.replace(kind, name="GET /"))
    same = [
        msgspec.structs.replace(pair, before=msgspec.structs.replace(pair.before, kinds=renamed(pair.before.kinds)))
        for pair in named
    ]
    verdicts = [change.verdict for change in judged(same).changes if change.metric == "p50"]
    assert verdicts.count(Verdict.WORSE) == 1


@pytest.mark.parametrize("threshold", [0.0, -0.05, 1.0, math.nan])
def test_threshold_is_a_share(threshold: float) -> None:
    """A threshold that would make everything or nothing the same is refused in one line."""
    with pytest.raises(ConfigurationError, match="threshold"):
        Judge(threshold=threshold)


def test_order_of_changes() -> None:
    """Changes come by kind in the plan's order and end with those of all kinds."""
    decision = judged(pairs_of(20, kinds=2), budget=20)
    assert [(change.kind, change.metric) for change in decision.changes] == [
        *((kind, metric) for kind in ("kind 1", "kind 2") for metric in ("p50", "p90", "p99", "errors")),
        ("", "cpu"),
        ("", "errors"),
    ]


def test_problem_of_most_pairs_is_told() -> None:
    """Of several checks that failed, the commonest is named."""
    other = Problem("sent requests", "90 %", "lower the rate")
    rounds = [
        msgspec.structs.replace(round_of([0.002]), problems=(LATE,) if number % 3 else (other,)) for number in range(12)
    ]
    judge = Judge()
    for number, spoilt in enumerate(rounds):
        judge.add(Pair(number, number % 2 > 0, spoilt, round_of([0.002])))
    assert judge.look(0.5).problems[0].check == LATE.check


def test_verdict_of_changes() -> None:
    """Worse outweighs all; better is not said while something undecided looks worse, by estimate or by interval."""
    better = change_made(Verdict.BETTER, -0.2, -0.3, -0.1)
    for others, verdict in (
        ([change_made(Verdict.UNDECIDED, 0.01, -0.04, 0.06)], Verdict.BETTER),
        ([change_made(Verdict.UNDECIDED, 0.06, -0.01, 0.14)], Verdict.UNDECIDED),
        ([change_made(Verdict.UNDECIDED, 0.04, 0.01, 0.07)], Verdict.UNDECIDED),
        ([change_made(Verdict.SAME, 0.01, -0.02, 0.03)], Verdict.BETTER),
        ([change_made(Verdict.WORSE, 0.2, 0.1, 0.3)], Verdict.WORSE),
    ):
        assert overall([better, *others], 0.05) is verdict
    assert overall([change_made(Verdict.SAME, 0.0, -0.01, 0.01)], 0.05) is Verdict.SAME
    assert overall([], 0.05) is Verdict.UNDECIDED


def change_made(verdict: Verdict, change: float, low: float, high: float) -> Change:
    """Return a change of a median."""
    return Change(
        kind="kind 1",
        metric="p50",
        before=1.0,
        after=1.0 + change,
        change=change,
        low=low,
        high=high,
        p=0.1,
        detectable=0.07,
        verdict=verdict,
    )

import math

import msgspec
import pytest

from hasten.compare import KindRound
from hasten.compare._series import all_series
from tests.compare.pairs import pairs_of


@pytest.mark.parametrize("kinds", [1, 2, 20])
def test_parts_do_not_depend_on_the_number_of_kinds(kinds: int) -> None:
    """CPU has a third of the chance of a false alarm, however many kinds a plan has; all medians have one together."""
    parts: dict[str, float] = {}
    for series in all_series(pairs_of(3, kinds=kinds)):
        parts[series.metric] = parts.get(series.metric, 0.0) + series.part
    whole = sum(parts.values())
    shares = {metric: part / whole for metric, part in parts.items()}
    assert shares == pytest.approx({"cpu": 1 / 3, "p50": 1 / 3, "p90": 1 / 12, "p99": 1 / 12, "errors": 1 / 6})


def test_what_holds_a_comparison_up() -> None:
    """Medians, CPU and all failures together count while they are undecided; tails and one kind's failures do not."""
    counting = {(series.kind, series.metric) for series in all_series(pairs_of(3, kinds=2)) if series.counts}
    assert counting == {("kind 1", "p50"), ("kind 2", "p50"), ("", "cpu"), ("", "errors")}
    alone = {(series.kind, series.metric) for series in all_series(pairs_of(3)) if series.counts}
    assert alone == {("kind 1", "p50"), ("kind 1", "errors"), ("", "cpu")}


def test_rare_kinds_count_where_all_are_rare() -> None:
    """A plan whose kinds all have few requests a round is judged by them nevertheless."""
    pairs = [
        msgspec.structs.replace(
            pair, before=msgspec.structs.replace(pair.before, kinds=tuple(rare(kind) for kind in pair.before.kinds))
        )
        for pair in pairs_of(3, kinds=2)
    ]
    assert sum(series.counts for series in all_series(pairs) if series.metric == "p50") == 2


def rare(kind: KindRound) -> KindRound:
    """Return it with five requests."""
    return msgspec.structs.replace(kind, offered=5)


def test_pairs_without_a_figure_are_left_out_of_its_series() -> None:
    """NaN on either side takes a pair out of that metric, infinite latencies stay."""
    pairs = pairs_of(4)
    pairs[1] = msgspec.structs.replace(pairs[1], after=msgspec.structs.replace(pairs[1].after, cpu=math.nan))
    dead = KindRound("kind 1", 100, 100, math.inf, math.inf, math.inf)
    pairs[2] = msgspec.structs.replace(pairs[2], before=msgspec.structs.replace(pairs[2].before, kinds=(dead,)))
    series = {one.metric: one for one in all_series(pairs)}
    assert len(series["cpu"].before) == 3
    assert series["p50"].before[2] == math.inf
    assert series["errors"].before == (0, 0, 100, 0)


def test_nothing_measured_has_no_series() -> None:
    """Without pairs there is nothing to judge; a kind that never had a request has no figures."""
    assert all_series([]) == []
    never = KindRound("kind 1", 0, 0, math.nan, math.nan, math.nan)
    pairs = [
        msgspec.structs.replace(
            pair,
            before=msgspec.structs.replace(pair.before, kinds=(never,)),
            after=msgspec.structs.replace(pair.after, kinds=(never,)),
        )
        for pair in pairs_of(3)
    ]
    assert [series.metric for series in all_series(pairs)] == ["cpu"]

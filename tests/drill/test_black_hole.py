"""A dependency that has gone: what the drill measures, and how it tells who has waited."""

import math
from contextlib import suppress
from pathlib import Path

import pytest

from hasten.drill import Impossible
from hasten.drill._calling import Called
from hasten.drill._namespace import namespace
from hasten.drill.drills._black_hole import BLACK_HOLE, known_at, read_round
from tests.drill.staged import measured


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """Each kind of hole has its measures: the third where this machine lets a host be made."""
    names = ["says nothing", "takes no connection"]
    with suppress(Impossible), namespace():
        names.append("has gone with its host")
    measures = measured(BLACK_HOLE, tmp_path, processes=5 if len(names) == 2 else 8)
    assert len(measures) == 4 * len(names)
    for number, name in enumerate(names):
        four = measures[4 * number : 4 * number + 4]
        paid, probes, rest, others = four
        assert paid.promise == f"calls that wait for their timeout until it is known that the dependency {name}"
        assert probes.promise.startswith("calls that wait for it afterwards")
        assert rest.promise == "p99 of all other calls that need the dependency"
        assert others.promise.startswith("p99 of requests that do not need it")
        assert all(math.isfinite(measure.measured) for measure in four)
        assert paid.beside_measured is not None
        assert paid.beside_measured > paid.measured > 0.0


def calls(count: int, seconds: float, since: float = 0.0, by: str = "") -> list[Called]:
    return [Called(since + number / 100, seconds, by) for number in range(count)]


def test_who_has_waited() -> None:
    """Calls before the first that was refused have waited, single ones afterwards were probes."""
    uses = [*calls(10, 1.0), *calls(40, 0.001, since=0.1), Called(0.305, 1.0, "")]
    before, during = calls(200, 0.004, by="other"), calls(200, 0.006, by="other")
    its = read_round(uses, before, during, 2.0, knows=True)
    assert (its.paid, its.probes, its.rest) == (10, 0.5, [0.001] * 40)
    assert (its.before, its.during) == (0.004, 0.006)


def test_who_knows_nothing() -> None:
    """Without a breaker all who waited are counted, also beside a few who came just before a timeout's end."""
    uses = [*calls(90, 0.5), *calls(9, 0.01, since=0.9), *calls(90, 0.5, since=1.0)]
    its = read_round(uses, calls(1, 0.004), calls(1, 0.004), 2.0, knows=False)
    assert (its.paid, its.probes, len(its.rest)) == (180, 0.0, 189)


def test_when_it_is_known() -> None:
    """From the first of ten calls in a row, by when they were made, that failed at once."""
    refused = calls(10, 0.001, since=0.5)
    assert known_at([*refused[5:], *calls(10, 1.0), *refused[:5]]) == 0.5
    assert known_at(refused[:9]) == math.inf
    assert known_at([*refused[:9], Called(0.585, 0.001, "answered"), refused[9]]) == math.inf

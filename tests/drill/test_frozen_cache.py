"""A Redis that stands still: what the drill measures, and how it tells that it is used again."""

import math
from pathlib import Path

import pytest

from hasten.drill._calling import Called
from hasten.drill.drills._frozen_cache import FROZEN_CACHE, read_round, used_at
from tests.drill.staged import measured


@pytest.mark.usefixtures("redis_url")
@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """No request fails, nobody waits as the peer's do, and Redis is used again."""
    failed, quick, again = measured(FROZEN_CACHE, tmp_path, processes=3)
    assert failed.promise == "requests that fail while Redis stands still, or afterwards"
    assert failed.measured == 0
    assert quick.promise == "p99 of requests from 1 s on, 5 ms more than before"
    assert quick.beside_measured is not None
    assert math.isfinite(quick.measured)
    assert again.promise == "until Redis is used again when it goes on"
    assert 0.0 < again.measured < math.inf


def calls(count: int, since: float, by: str, seconds: float = 0.003) -> list[Called]:
    return [Called(since + number / 100, seconds, by) for number in range(count)]


def test_when_it_is_used() -> None:
    """From the first of ten requests in a row, by when they were made, whose values Redis had."""
    found = calls(10, 0.5, "found")
    assert used_at([*found[5:], *calls(10, 0.0, "loaded"), *found[:5]]) == 0.5
    assert used_at(found[:9]) == math.inf
    assert used_at([*found[:9], Called(0.585, 0.003, "loaded"), found[9]]) == math.inf


def test_round() -> None:
    """Its first second is not in the p99, and a request that fails took for ever."""
    before, after = calls(100, 0.0, "found", 0.002), [*calls(50, 12.0, "loaded"), *calls(50, 12.5, "found")]
    during = [*calls(100, 10.0, "loaded", 0.05), *calls(100, 11.0, "loaded", 0.004)]
    its = read_round(before, during, after, 10.0, 12.0)
    assert (its.failed, its.before, its.during, its.again) == (0, 0.002, 0.004, 0.5)
    its = read_round(before, [*during, *calls(2, 11.9, "")], [*after, *calls(1, 13.0, "")], 10.0, 12.0)
    assert (its.failed, its.during) == (3, math.inf)

"""A replica that becomes slow: what the drill measures, and how shares are counted."""

import math
from pathlib import Path

import pytest

from hasten.drill._calling import Called
from hasten.drill.drills._slow_replica import SLOW_REPLICA, Course, share
from tests.drill.staged import measured


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """HTTP and gRPC have the slow replica's share, beside round_robin's third, and the time until it is back."""
    measures = measured(SLOW_REPLICA, tmp_path, processes=3)
    assert [measure.promise for measure in measures] == [
        "calls of HTTP that the slow replica of three gets from 2 s on",
        "until it gets 20 % of the calls of HTTP again when it is well",
        "calls of gRPC that the slow replica of three gets from 2 s on",
        "until it gets 20 % of the calls of gRPC again when it is well",
    ]
    for gets in measures[::2]:
        assert 0.0 <= gets.measured < 20.0
        assert gets.beside_measured == pytest.approx(100.0 / 3.0, abs=5.0)
    assert all(measure.measured >= 1.0 for measure in measures[1::2])  # infinite where a short turn does not see it


def calls(since: float, until: float, *by: str) -> list[Called]:
    count = round((until - since) * 100)
    return [Called(since + number / 100, 0.005, by[number % len(by)]) for number in range(count)]


def test_share() -> None:
    """Of the calls made meanwhile; of none it is none."""
    called = [*calls(0.0, 1.0, "ill"), *calls(1.0, 2.0, "ill", "well"), *calls(2.0, 3.0, "")]
    assert share(called, 0.0, 1.0) == 100.0
    assert share(called, 1.0, 2.0) == 50.0
    assert share(called, 2.0, 3.0) == 0.0
    assert share(called, 5.0, 6.0) == 0.0


def test_course() -> None:
    """What a replica gets counts from 2 s after it has become slow, and it is back when it has had a share for 1 s."""
    called = [
        *calls(0.0, 5.0, "ill", "well"),
        *calls(5.0, 12.0, "well"),
        *calls(12.0, 20.0, "ill", "well", "also-well"),
    ]
    course = Course(3.0, 9.0, 20.0, {"http": called, "rpc": calls(0.0, 20.0, "well")})
    assert course.while_slow("http") == 0.0
    assert 3.0 < course.until_back("http") <= 4.0
    assert course.until_back("rpc") == math.inf

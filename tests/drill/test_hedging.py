"""Calls that stall: what the drill measures, and the backend that stalls."""

import math
from pathlib import Path

import pytest

from hasten.drill.drills._hedging import HEDGING, Turns
from hasten.drill.subjects.backend import Backend
from tests.drill.staged import measured


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """HTTP and gRPC have their p99 and their extra calls, beside clients that do not hedge, and grpc.aio."""
    measures = measured(HEDGING, tmp_path, processes=1)
    assert [measure.promise.split(",")[0] for measure in measures] == [
        "p99 of hedged calls of HTTP",
        "calls of HTTP that the backend has seen beyond those made",
        "p99 of hedged calls of gRPC",
        "calls of gRPC that the backend has seen beyond those made",
        "p99 of hedged calls of gRPC",
    ]
    assert [measure.beside for measure in measures] == [*["without hedging"] * 4, "grpc.aio"]
    assert all(math.isfinite(measure.measured) for measure in measures)
    assert [measures[1].beside_measured, measures[3].beside_measured] == [0.0, 0.0]


def test_turns() -> None:
    """The p99 is one that a call has had, and a call without an answer is the slowest."""
    turns = Turns([float(number) for number in range(1, 101)], seen=102)
    assert turns.p99 == 99.0
    assert turns.extra == pytest.approx(2.0)
    turns.seconds += [math.inf, math.inf]
    assert turns.p99 == math.inf
    assert Turns().extra == math.inf


def test_one_call_of_each_block_stalls() -> None:
    """So many as are said, not about so many; without a number none."""
    backend = Backend("one", stalls=90, fails=False)
    takes = [backend.takes() for _ in range(900)]
    stalled = [number for number, seconds in enumerate(takes) if seconds == 0.2]
    assert [number // 90 for number in stalled] == list(range(10))
    assert len({number % 90 for number in stalled}) > 1
    assert all(0.003 <= seconds <= 0.008 for seconds in takes if seconds != 0.2)
    assert max(Backend("two", stalls=0, fails=False).takes() for _ in range(100)) <= 0.008

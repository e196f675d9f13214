"""A service that is down: what the drill measures, and what budgets allow."""

import math
from pathlib import Path

import pytest

from hasten.drill.drills._retries import RETRIES, most_sends
from tests.drill.staged import measured


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """One layer, three layers and gRPC keep to their budgets; three attempts each are 3 calls, and 27."""
    measures = measured(RETRIES, tmp_path, processes=5)
    assert [measure.promise.partition(", by ")[2] for measure in measures] == [
        "one layer of callers with retries",
        "three layers of callers with retries",
        "a retry policy of three attempts",
    ]
    assert [measure.beside for measure in measures] == ["three attempts each", "three attempts each", "grpc.aio"]
    assert [measure.beside_measured for measure in measures] == [3.0, 27.0, 3.0]
    assert all(measure.kept and 1.0 < measure.measured < math.inf for measure in measures)


def test_what_budgets_allow() -> None:
    """A tenth more by each layer, and what its budget has without calls: 10 at first, and one a second."""
    assert most_sends(1, 1000, 10.0) == pytest.approx(1.12)
    assert most_sends(3, 10**9, 10.0) == pytest.approx(1.331)
    assert most_sends(2, 1000, 10.0) == pytest.approx(1.12 * 1.1 + 0.02)

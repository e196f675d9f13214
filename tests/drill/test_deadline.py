"""A caller that gives up: what the drill measures, and what its hops note."""

import math
from pathlib import Path
from time import monotonic

import pytest

from hasten.drill.drills._deadline import DEADLINE, stopping
from hasten.drill.subjects.hop import Note, Order, order_text, read_order
from tests.drill.staged import measured


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """Hops stop, and begin nothing more; plain ones work on to the end."""
    stops, late = measured(DEADLINE, tmp_path, processes=6)
    assert stops.promise.startswith("until a hop stops")
    assert late.promise.startswith("pieces of work begun more than 20 ms after")
    assert math.isfinite(stops.measured)
    assert math.isfinite(late.measured)
    assert stops.beside_measured is not None
    assert late.beside_measured is not None
    assert stops.beside_measured > stops.measured
    assert late.beside_measured > late.measured


def test_orders() -> None:
    """A request arrives as it was sent, to the last digit of its time."""
    order = Order(7, monotonic() + 0.2, "middle")
    assert read_order(order_text(order)) == order


def test_late_pieces() -> None:
    """What is begun more than 20 ms after the caller has gone is counted."""
    in_time, late = Note(1, monotonic() + 10.0), Note(2, monotonic() - 0.1)
    for note in (in_time, late):
        note.begin_piece()
    assert (in_time.late, late.late) == (0, 1)


def test_stopping() -> None:
    """Who has ended in time has not gone on, and who ended late counts from when nobody waited."""
    assert stopping([Note(number, 10.0, 10.0 + number / 1000) for number in range(100)]) == pytest.approx(0.098)
    assert stopping([Note(1, 10.0, 9.0)]) == 0.0

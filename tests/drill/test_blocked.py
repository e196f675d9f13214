"""A held event loop: what the drill measures, and how it reads what it is told."""

import math
from pathlib import Path

import pytest

from hasten.drill import Stage
from hasten.drill.drills._blocked import BLOCKED, Answer, p99, places_of, share_named
from hasten.drill.subjects.held import hold_asleep
from tests.drill.measuring import measures_of

SAID = b'{"status":"blocked","at":"held.py:12 hold"}'
PLACES = {"held.py:12 hold"}


@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """The loop is held in two ways, the admin port answers meanwhile and names the line; the services have ended."""
    stage = Stage(folder=tmp_path, quick=True)
    measures = measures_of(BLOCKED, stage, services=2)
    assert [measure.promise for measure in measures] == [
        "p99 of /livez while the loop is held for 1 s by a call that sleeps",
        "p99 of /livez while the loop is held for 1 s by Python that computes",
        "of these answers, those that name the line that holds it, from 0.5 s on",
    ]
    assert all(math.isfinite(measure.measured) for measure in measures)
    assert all(
        measure.beside_measured is not None and math.isfinite(measure.beside_measured) for measure in measures[:2]
    )
    assert measures[2].measured > 0.0


def test_places() -> None:
    """A place is a line of a function's body, not the one that defines it."""
    file = Path(hold_asleep.__code__.co_filename)
    (place,) = places_of(hold_asleep, file)
    where, _, function = place.partition(" ")
    name, _, line = where.rpartition(":")
    assert (name, function) == (str(file), "hold_asleep")
    assert file.read_text().splitlines()[int(line) - 1].strip() == "time.sleep(seconds)"


@pytest.mark.parametrize(
    ("body", "share"),
    [
        (SAID, 1.0),
        (b'{"status":"ok","loop_blocked_seconds":0.0}', 0.0),
        (b'{"status":"blocked","at":""}', 0.0),
        (b'{"status":"blocked","at":["held.py:12 hold"]}', 0.0),
        (b"", 0.0),
        (b"\xff{", 0.0),
        (b"[]", 0.0),
    ],
)
def test_what_names_a_place(body: bytes, share: float) -> None:
    """Only an answer that says blocked, and by which of the places, names it."""
    assert share_named([Answer(1.0, 0.1, body)], PLACES, seconds=5.0) == share


def test_which_answers_must_name_it() -> None:
    """Those that were asked for within the first half second need not, nor those that came behind the hold."""
    others = [Answer(0.4, 0.1, b""), Answer(4.98, 0.1, b""), Answer(1.0, math.inf, b"")]
    assert share_named([Answer(1.0, 0.1, SAID), *others], PLACES, seconds=5.0) == 1.0
    assert share_named([Answer(1.0, 0.1, SAID), Answer(2.0, 0.1, b"")], PLACES, seconds=5.0) == 0.5
    assert share_named(others, PLACES, seconds=5.0) == 0.0


def test_p99() -> None:
    """An answer that has not come is the slowest."""
    assert p99([Answer(0.0, number / 1000, b"") for number in range(1, 101)]) == 0.099
    assert p99([Answer(0.0, 0.1, b""), Answer(0.0, math.inf, b"")]) == math.inf

"""A key that everybody reads: what the drill measures, how loads are counted, and that it says what it needs."""

import math
from pathlib import Path

import pytest

from hasten.drill import Impossible
from hasten.drill._calling import Called
from hasten.drill.drills._hot_key import HOT_KEY, loads_each, p99
from hasten.drill.subjects.source import Load
from tests.drill.staged import measured


@pytest.mark.usefixtures("redis_url")
@pytest.mark.may_block
@pytest.mark.timeout(120)
def test_quick(tmp_path: Path) -> None:
    """Loads and p99 while the value expires, of 1,000 requests at once, and what fails with the source."""
    measures = measured(HOT_KEY, tmp_path, processes=6)
    assert [measure.promise for measure in measures] == [
        "loads by all 4 processes each time a value expires",
        "p99 of requests for it, a tenth (or 1 ms) more than for one that does not",
        "loads for 1,000 requests at once that want what nobody has",
        "of these requests, those without an answer",
        "requests that fail when all loads do",
    ]
    expiring, quick, at_once, unanswered, failed = measures
    for loads in (expiring, at_once):
        assert loads.beside_measured is not None
        assert loads.beside_measured > loads.measured >= 1.0
    assert math.isfinite(quick.measured)
    assert unanswered.measured == 0
    assert failed.beside_measured is not None
    assert failed.beside_measured > failed.measured == 0


def test_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no redis-server it is not run, and says what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Impossible, match="there is no redis-server on PATH; install it"):
        measured(HOT_KEY, tmp_path, processes=0)


def loads(*began: float) -> list[Load]:
    return [Load(at, at + 0.1) for at in began]


def test_loads_each_time() -> None:
    """A load is one too many while another is under way, and as long as its value is fresh for certain."""
    assert loads_each(loads(0.0, 1.0, 2.0)) == 1.0
    assert loads_each(loads(2.0, 0.0, 0.05, 2.15, 2.05, 0.0)) == 3.0
    assert loads_each(loads(0.0, 0.5, 1.2)) == 1.5
    assert loads_each(loads(0.0, 0.56)) == 1.0


def test_a_value_that_never_expires() -> None:
    """Nothing can be said of one that was not loaded again."""
    assert loads_each([]) == loads_each(loads(0.0, 0.05)) == math.inf


def test_p99() -> None:
    """A request that fails took for ever."""
    answered = [Called(0.0, 0.002, "value")] * 99
    assert p99([*answered, Called(0.0, 0.001, "")]) == 0.002
    assert p99([*answered[1:], *[Called(0.0, 0.001, "")] * 2]) == math.inf

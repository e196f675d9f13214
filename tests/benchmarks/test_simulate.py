"""Simulations of many instances: the world they are in, what each study finds in a small one, and their charts."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks.simulate import _balancing, _limits, _storm
from benchmarks.simulate.__main__ import app
from benchmarks.simulate._chart import svg
from benchmarks.simulate._study import Chart
from benchmarks.simulate._world import Server, World
from hasten.resilience import RetryBudget


def test_world() -> None:
    """What was put off comes in the order of time, what comes at one time in the order in which it was put off."""
    world, seen = World(1), list[tuple[str, float]]()
    for name, seconds in (("c", 2.0), ("a", 1.0), ("b", 1.0), ("never", 5.0)):
        world.after(seconds, lambda name=name: seen.append((name, world.now)))
    world.run(4.0)
    assert seen == [("a", 1.0), ("b", 1.0), ("c", 2.0)]
    assert world.clock() == 4.0


def test_arrivals() -> None:
    """They come as often as is asked for, by the time."""
    world, seen = World(1), list[float]()
    world.arrivals(lambda now: 100.0 if now < 50.0 else 10.0, lambda: seen.append(world.now))
    world.run(100.0)
    before = sum(at < 50.0 for at in seen)
    assert before == pytest.approx(5000, rel=0.05)
    assert len(seen) - before == pytest.approx(500, rel=0.15)


def test_server() -> None:
    """One thing is begun when the one before is done, and takes what it takes then."""
    world = World(1)
    server = Server(world, lambda now: 2.0 if now < 3.0 else 1.0)
    assert [server.take() for _ in range(3)] == [2.0, 4.0, 5.0]
    world.run(10.0)
    assert server.take() == 1.0


def test_a_storm() -> None:
    """Three attempts end nothing, a limiter ends it at once, and what clients send stays within their budgets."""
    instances = 20
    counted = {way: _storm.simulate(way, instances, 1) for way in _storm.WAYS}
    for way, counts in counted.items():
        again = _storm.well_again(counts)
        if way.limiter:
            assert again <= 2.0
        elif way.floor is None:
            assert again == float("inf")
        if way.floor is not None:
            calls, seconds = sum(counts.calls), len(counts.calls)
            reserve = RetryBudget().statistics().balance
            assert sum(counts.sent) <= 1.1 * calls + instances * (way.floor * seconds + reserve)


def test_callers_that_know_little() -> None:
    """Of few callers each learns which replica is slow; taking turns is learning nothing."""
    begin, end = 12, 20
    shares = {}
    for way, callers in (("two choices", 5), ("round robin", 5)):
        took, slow = _balancing.simulate(way, callers, 1)
        shares[way] = sum(slow[begin:end]) / sum(map(len, took[begin:end]))
    assert shares["two choices"] < 0.01
    assert shares["round robin"] == pytest.approx(0.05, abs=0.002)


def test_limits_of_many() -> None:
    """With a limit each service does what it can, without one nothing in time."""
    goodput = {name: sum(_limits.simulate(10, 1, chance)[1]) / 10 for name, chance in _limits.WAYS}
    without, *limited = goodput.values()
    assert without < 0.01
    assert min(limited) > 0.9


def test_charts() -> None:
    """A chart is XML whatever its names are, within its bounds whatever its values are."""
    names = {"<script>alert(1)</script>": [0.0, 50.0, 1e9], 'a"&b': [3.0, float("inf"), 2.0]}
    drawn = svg(Chart(name="c", title="a < b", unit="%", series=names, shaded=(0.0, 1.0), most=100.0))
    root = ElementTree.fromstring(drawn)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {*names, "a < b, %"} <= set(texts)
    tops = [float(point.split()[1]) for point in root.find("{*}path").get("d", "")[2:].split(" L ")]  # type: ignore[union-attr]
    assert tops[2] == min(tops) > 0.0


def test_command(tmp_path: Path) -> None:
    """It prints the table, and writes charts and figures where it is told to."""
    found, charts = tmp_path / "found.json", tmp_path / "charts"
    done = CliRunner().invoke(app, ["storm", "--instances", "5", "--json", str(found), "--charts", str(charts)])
    assert done.exit_code == 0
    assert "well again" in done.output
    (study,) = msgspec.json.decode(found.read_bytes())["studies"]
    assert [row[0] for row in study["rows"]] == [way.name for way in _storm.WAYS]
    assert (charts / "storm-answered.svg").read_text().startswith("<svg")


def test_a_study_that_is_not_there() -> None:
    """One line says which there are."""
    done = CliRunner().invoke(app, ["tempest"])
    assert done.exit_code == 2
    assert "there are storm, balancing, limits" in " ".join(done.output.replace("│", " ").split())

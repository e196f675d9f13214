"""A broker that is killed: what the drill measures, and how it counts."""

import asyncio
import math
from importlib.util import find_spec
from pathlib import Path

import pytest

from hasten.drill import Impossible, Stage
from hasten.drill._flow import Flow, Look, seconds_ready, until_ready
from hasten.drill._rabbitmq import rabbitmq
from hasten.drill.drills._broker_restart import BROKER_RESTART
from servers import RABBITMQ
from tests.drill.measuring import measures_of
from tests.own_servers import place_of

pytestmark = pytest.mark.may_block


@pytest.mark.timeout(180)
def test_quick(tmp_path: Path) -> None:
    """Nothing that was confirmed is lost; aio-pika's figures stand beside where it is installed; all has ended."""
    place_of(RABBITMQ)
    peer = find_spec("aio_pika") is not None
    stage = Stage(folder=tmp_path, quick=True)
    measures = measures_of(BROKER_RESTART, stage, services=5 if peer else 4)
    lost, again, handled, publish, says, ready = measures
    assert lost.promise.endswith(" messages that were confirmed, kills of the broker: 1")
    assert lost.measured == 0.0
    assert again.measured <= again.asked == 32.0
    assert (handled.unit, publish.unit, says.unit, ready.unit) == ("s", "s", "s", "s")
    assert all(0.0 < measure.measured < math.inf for measure in (handled, publish, says, ready))
    assert all((measure.beside_measured is not None) is peer for measure in measures[:4])
    assert all(measure.beside_measured is None for measure in (says, ready))


def test_no_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where RabbitMQ is not installed it says so."""
    monkeypatch.setenv("PATH", str(tmp_path))

    async def scenario() -> None:
        async with rabbitmq(Stage(folder=tmp_path)):
            pass

    with pytest.raises(Impossible, match="install RabbitMQ"):
        asyncio.run(scenario())


def test_a_broker_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not start is named with its last words, and nothing is left of it."""
    for name in ("epmd", "rabbitmq-server"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho 'no room'\nexit 7\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    stage = Stage(folder=tmp_path)

    async def scenario() -> None:
        async with rabbitmq(stage):
            pass

    with pytest.raises(Impossible, match=r"epmd: ended with exit code 7 .*no room"):
        asyncio.run(scenario())
    assert not any(Path(f"/proc/{pid}").exists() for pid in stage.pids)


def test_numbers(tmp_path: Path) -> None:
    """Those that are confirmed are known, whatever became of the others, and what was handled of them."""
    over, file = asyncio.Event(), tmp_path / "handled"

    async def publish(number: int) -> None:
        if number >= 5:
            over.set()
        if number % 2 or over.is_set():
            raise OSError("away")

    async def scenario() -> Flow:
        flow = Flow(publish, file)
        await flow.drive(over)
        return flow

    flow = asyncio.run(scenario())
    assert flow.confirmed == {0, 2, 4}
    assert flow.longest > 0.0
    file.write_text("0 10.0\n1 11.0\n2 12.5\n0 13.0\n")
    flow.read()
    assert (flow.lost, flow.again) == (1, 1)
    assert flow.until_handled(11.0) == 1.5
    assert flow.until_handled(13.0) == math.inf


def test_readiness() -> None:
    """It is what was said last; what was said before or after the outage does not count."""
    said = ((9.0, True), (10.5, True), (11.0, False), (12.0, False), (12.5, True), (14.0, True))
    looks = [Look(at, ready) for at, ready in said]
    assert seconds_ready(looks, 10.0, 13.0) == 1.0 + 0.5
    assert seconds_ready(looks, 11.0, 12.0) == 0.0
    assert until_ready(looks, 11.0) == 1.5
    assert until_ready(looks, 15.0) == math.inf

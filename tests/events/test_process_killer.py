"""A message that ends each process which handles it is buried in the end, and it alone."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hasten.events import Bus, Inspection
from hasten.events._consumer import MOST_RETURNED
from tests.events.brokers.adapter import run
from tests.events.killer import CONCURRENCY, numbers_in

TOPIC, MESSAGES, KILLER = "orders.paid", 2 * CONCURRENCY, 5


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["one by one", "batched"])
def test_neighbours_are_not_buried(way: str, tmp_path: Path) -> None:
    """What was under way beside it came back as often, and is handled all the same."""
    url, file = f"memory:///{tmp_path}/events.db", tmp_path / "handled"
    run(published(url))
    command = [sys.executable, "-m", "tests.events.killer", url, TOPIC, str(file), str(KILLER), str(MESSAGES), way]
    lives = 0
    while subprocess.run(command, check=False).returncode == -signal.SIGKILL:
        lives += 1
        assert lives <= MOST_RETURNED
    assert lives >= MOST_RETURNED - 1  # it may have come back from who published
    assert asyncio.run(dead(url)) == [str(KILLER).encode()]
    assert numbers_in(str(file)) == set(range(MESSAGES)) - {KILLER}


async def published(url: str) -> None:
    """Publish the messages."""
    bus = Bus(url, drain=0.0)

    @bus.subscribe(TOPIC, group="billing", concurrency=1)
    async def never(_: int) -> None:
        await asyncio.Event().wait()

    async with bus:
        for number in range(MESSAGES):
            await bus.publish(TOPIC, number)


async def dead(url: str) -> list[bytes]:
    """Return the payloads of the dead letters."""
    async with Bus(url) as bus:
        assert isinstance(bus.broker, Inspection)
        return [each.body for each in await bus.broker.dead_letters(TOPIC, "billing", 100)]

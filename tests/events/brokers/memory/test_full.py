"""A disk that is full: nothing that was confirmed is lost, and all goes on when there is room."""

import signal
from pathlib import Path

from hasten.events._broker import Backlog
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import run
from tests.events.brokers.memory.test_killed import filled, history_of, numbers, returned
from tests.events.brokers.memory.worker import ORDERS


def test_full_and_room_again(tmp_path: Path) -> None:
    """Publishing fails, what is there is handled once, and with room publishing goes on and the file knows it all."""

    async def scenario() -> None:
        file = tmp_path / "events.db"
        history, code = await history_of("full", file)
        assert code == 0
        confirmed, handled = numbers(history, "confirmed", ORDERS)["k0"], numbers(history, "handled", ORDERS)["k0"]
        assert len(confirmed) > 200
        assert sorted(handled) == [number for number in confirmed if number % 10 != 3]
        broker = MemoryBroker(file)
        await broker.start()
        dead = sum(number % 10 == 3 for number in confirmed)
        assert await broker.backlog(ORDERS, "billing") == Backlog(0, dead)
        await broker.aclose()

    run(scenario())


def test_full_and_killed(tmp_path: Path) -> None:
    """What was confirmed before the disk was full is there for the next process."""

    async def scenario() -> None:
        file = tmp_path / "events.db"
        await filled(file)
        history, code = await history_of("burst", file)
        assert code == -signal.SIGKILL
        confirmed = numbers(history, "confirmed", ORDERS)["k0"]
        assert len(confirmed) > 200
        there = [number for number, _ in await returned(file)]
        assert there == [*range(len(there))]
        assert len(confirmed) <= len(there) <= len(confirmed) + 1

    run(scenario())

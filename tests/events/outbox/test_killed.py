"""Between commit and message nothing is lost, whoever is killed, and whenever."""

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from hasten.events.outbox._relay import MOST_AT_ONCE
from tests.events.brokers.adapter import run
from tests.events.outbox.conftest import NewShop
from tests.events.outbox.shop import FileBroker

COUNT = 3 * MOST_AT_ONCE + 20


async def relay(shop_at: tuple[str, str, str], file: Path, point: str) -> int:
    """Have a process relay; return its exit code."""
    arguments = [*shop_at, str(file), point]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.events.outbox.worker", *arguments)
    return await process.wait()


@pytest.mark.parametrize("point", ["before", "published", "removed"])
def test_killed(shop_at: tuple[str, str, str], new_shop: NewShop, tmp_path: Path, point: str) -> None:
    """A relay is killed and another goes on: each message is published, those twice that were not removed yet.

    What comes twice has the same id, and each key's messages come in order for those who count ids.
    """

    async def scenario() -> None:
        shop, file = new_shop(), tmp_path / "published"
        await shop.create()
        await shop.add(*((f"{number}", f"k{number % 7}" if number % 5 else "") for number in range(COUNT)))
        assert await relay(shop_at, file, point) == -signal.SIGKILL
        had = len(FileBroker(file).published())
        assert 0 < had < COUNT
        assert await relay(shop_at, file, "never") == 0
        check_history(file)
        await shop.outbox.database.aclose()

    run(scenario())


def test_several_processes(shop_at: tuple[str, str, str], new_shop: NewShop, tmp_path: Path) -> None:
    """Of several processes one relays; it is killed, and another takes its place."""

    async def scenario() -> None:
        shop, file = new_shop(), tmp_path / "published"
        await shop.create()
        await shop.add(*((f"{number}", f"k{number % 7}" if number % 5 else "") for number in range(COUNT)))
        codes = await asyncio.gather(*(relay(shop_at, file, point) for point in ("published", "published", "never")))
        assert set(codes) <= {0, -signal.SIGKILL}
        assert await relay(shop_at, file, "never") == 0
        check_history(file, killed=2)
        await shop.outbox.database.aclose()

    run(scenario())


def check_history(file: Path, killed: int = 1) -> None:
    """Compare what was published with what was committed."""
    published = FileBroker(file).published()
    first = list(dict.fromkeys(published))
    assert sorted(int(each) for each, _ in first) == list(range(COUNT))
    for key in {key for _, key in first} - {""}:
        numbers = [int(each) for each, of in first if of == key]
        assert numbers == sorted(numbers)
    assert sum(Counter(published).values()) - COUNT <= killed * MOST_AT_ONCE

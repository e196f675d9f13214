"""Memory does not grow with what has gone through."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.events.brokers.memory.test_killed import WORKER

MEGABYTE = 1_000_000


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "messages", "first"), [("", 1_000_000, 100_000), ("events.db", 200_000, 20_000)])
def test_memory_is_flat(name: str, messages: int, first: int, tmp_path: Path) -> None:
    """After the first tenth of the messages a process that publishes and handles them grows by 10 MB at most."""

    async def scenario() -> None:
        file = str(tmp_path / name) if name else ""
        arguments = ["-m", WORKER, "flat", file, str(messages), str(first)]
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
        said, _ = await process.communicate()
        handled, early_bytes, late_bytes = map(int, said.split())
        sizes = f"{early_bytes / MEGABYTE:.2f} MB after {first}, {late_bytes / MEGABYTE:.2f} MB after {handled}"
        print(f"{name or 'memory'}: {sizes}")
        assert handled == messages
        assert 0 < late_bytes <= early_bytes + 10 * MEGABYTE

    asyncio.run(scenario())

"""Who may have a file, and which files are refused."""

import asyncio
import os
import random
import re
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.events import Bus, Unroutable
from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers._memory_file import VERSION
from hasten.events.brokers.memory import MemoryBroker, memory_broker
from tests.events.brokers.adapter import OrderPaid, run
from tests.events.brokers.memory.consumer import GROUP, TOPIC, Reader, message, opened, publish


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second broker, of this process or another, is refused in a line, harms nothing, and may have it afterwards."""

    async def scenario() -> None:
        file = tmp_path / "events.db"
        broker = await opened(file)
        await (await Reader().subscribe(broker)).intake.aclose()
        await publish(broker, "a")
        with pytest.raises(BrokerUnavailable, match=r"another process has it, or another bus here") as refused:
            await opened(file)
        assert "\n" not in str(refused.value)
        code = f"import asyncio; from hasten.events import Bus; asyncio.run(Bus('memory:///{file}').start())"
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=PIPE)
        _, said = await other.communicate()
        assert b"BrokerUnavailable" in said
        assert b"another process has it" in said
        await publish(broker, "b")
        await broker.aclose()
        second = await opened(file)
        assert (await second.backlog(TOPIC, GROUP)).waiting == 2
        await second.aclose()

    run(scenario())


def test_buses_share_a_broker(tmp_path: Path) -> None:
    """The file is taken by the first bus, left by the last, and by none that left before."""

    async def scenario() -> None:
        broker = MemoryBroker(tmp_path / "events.db")
        async with Bus(broker) as one:
            async with Bus(broker):
                pass
            await one.publish(TOPIC, OrderPaid(1), mandatory=False)
            with pytest.raises(Unroutable):
                await one.publish(TOPIC, OrderPaid(1))
        with pytest.raises(BrokerError, match="is not started"):
            await one.publish(TOPIC, OrderPaid(1))

    run(scenario())


def test_not_started(tmp_path: Path) -> None:
    """A broker whose file is not open says so, whatever it is asked."""

    async def scenario() -> None:
        broker = MemoryBroker(tmp_path / "events.db")
        for asked in (
            broker.publish(message("a"), deadline=time.monotonic() + 1.0),
            broker.backlog(TOPIC, GROUP),
            Reader().subscribe(broker),
        ):
            with pytest.raises(BrokerError, match="is not started"):
                await asked
        await broker.aclose()
        assert not broker.connected
        assert not (tmp_path / "events.db").exists()

    run(scenario())


# ---- files that are not ours, or no longer


def refused(file: Path) -> str:
    """Return why a file is not opened."""

    async def scenario() -> None:
        broker = MemoryBroker(file)
        with pytest.raises((BrokerUnavailable, ConfigurationError)) as error:
            await broker.start()
        said.append(f"{type(error.value).__name__} {error.value}")

    said = list[str]()
    run(scenario())
    assert "\n" not in said[0]
    return said[0]


def of_another_program(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
    connection.close()


def of_a_newer_version(file: Path) -> None:
    run(_made(file))
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()


async def _made(file: Path) -> None:
    """Make a file of 500 messages."""
    broker = await opened(file)
    await (await Reader().subscribe(broker)).intake.aclose()
    await publish(broker, *(f"m{number}" for number in range(500)))
    await broker.aclose()


def a_text(file: Path) -> None:
    file.write_text("no database at all" * 100)


def a_folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (of_another_program, "ConfigurationError .*events.db: is a database of another program; name another file"),
        (of_a_newer_version, "ConfigurationError .*events.db: has format 2; a newer hasten has written it"),
        (a_text, "ConfigurationError .*events.db: is no SQLite file; name another one"),
        (a_folder, "BrokerUnavailable memory .*events.db: unable to open database file; .*must be writable"),
    ],
)
def test_not_ours(make: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    """A file that is not ours is refused in a line that says what to do, and stays as it is."""
    file = tmp_path / "events.db"
    make(file)
    before = file.read_bytes() if file.is_file() else b""
    assert re.match(reason, refused(file))
    assert (file.read_bytes() if file.is_file() else b"") == before
    assert [each.name for each in tmp_path.iterdir()] == ["events.db"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A file in no folder, or in one that takes none, is refused."""
    assert "unable to open database file" in refused(tmp_path / "none" / "events.db")
    assert "unable to open database file" in refused(Path("/proc/events.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours(tmp_path: Path) -> None:
    """A folder that may not be written is refused."""
    tmp_path.chmod(0o500)
    assert "must be writable" in refused(tmp_path / "events.db")
    tmp_path.chmod(0o700)


def test_damaged(tmp_path: Path) -> None:
    """Of a file whose pages were written over, or cut off, either all is read or it is refused in a line."""
    whole = tmp_path / "whole.db"
    run(_made(whole))
    chance, refusals = random.Random(3), 0
    for number in range(40):
        file = tmp_path / f"{number}.db"
        data = bytearray(whole.read_bytes())
        at = chance.randrange(len(data))
        if number % 4:
            data[at : at + 2000] = chance.randbytes(min(2000, len(data) - at))
        else:
            del data[at:]
        file.write_bytes(data)
        refusals += is_refused(file)
    assert refusals >= 30


def test_damaged_free_pages(tmp_path: Path) -> None:
    """A list of free pages that is wrong would have messages written over each other: the file is refused."""
    file = tmp_path / "events.db"

    async def scenario() -> None:
        await _made(file)
        broker = await opened(file)
        reader = await Reader().subscribe(broker)
        await reader.has(500)
        for each in reader.got:
            reader.intake.accept(each)
        await broker.aclose()

    run(scenario())
    data = bytearray(file.read_bytes())
    assert int.from_bytes(data[32:36], "big")  # the first page of the list, in the file's header
    data[32:36] = (1).to_bytes(4, "big")
    file.write_bytes(data)
    assert "is damaged" in refused(file)


def is_refused(file: Path) -> bool:
    """Open a file; whatever is in it, it is refused as it should be or has all."""

    async def scenario() -> None:
        broker = MemoryBroker(file)
        try:
            await broker.start()
        except (BrokerUnavailable, ConfigurationError) as error:
            said.append(str(error))
            return
        assert sum(group.count for groups in broker.groups.values() for group in groups.values()) in {0, 500}
        await broker.aclose()

    said = list[str]()
    run(scenario())
    assert "\n" not in "".join(said)
    return bool(said)


# ---- URLs


def test_urls() -> None:
    """`memory://` has no file; three slashes name one where the process is, four an absolute one."""
    assert memory_broker("memory://").name == "memory"
    assert memory_broker("memory:///events.db").name == f"memory {Path.cwd() / 'events.db'}"
    assert memory_broker("memory:////var/lib/events.db").name == "memory /var/lib/events.db"


@pytest.mark.parametrize("url", ["memory://host/events.db", "memory:///", "memory://events.db"])
def test_urls_without_a_file(url: str) -> None:
    """A URL that names a host, or nothing, is refused with one that is right."""
    with pytest.raises(ConfigurationError, match=r"memory:///events\.db"):
        memory_broker(url)


@pytest.mark.parametrize("url", ["memory:///e.db?mode=ro", "memory:///e%20.db", "memory:///e.db#1", "memory:///e\0.db"])
def test_urls_with_options(url: str) -> None:
    """Options and escapes are refused, since they would be part of the name."""
    with pytest.raises(ConfigurationError, match="no options"):
        memory_broker(url)

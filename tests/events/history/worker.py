"""Consumers in a process of their own, which write down each effect; to be killed and stopped.

    python -m tests.events.history.worker URL TOPIC FOLDER

Three groups handle each message: `counted` as it comes, `ordered` by key, and `once` with its effect in the
transaction of a `SqlOnce`. It writes `ready` when all of them are subscribed, and drains at SIGTERM.
"""

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

import msgspec

from hasten.events import Bus, Message
from hasten.events.once.sql import SqlOnce

CONCURRENCY = 32
"""Messages of a group that a process may have unsettled."""


class Numbered(msgspec.Struct, frozen=True):
    """The payload: the message's place among those of its key."""

    number: int


def effects_at(folder: Path) -> sqlite3.Connection:
    """Return a connection to the effects of `once`; only a killed process is survived, not a machine without power."""
    connection = sqlite3.connect(folder / "once.db", timeout=30.0, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("CREATE TABLE IF NOT EXISTS effects (message TEXT NOT NULL)")
    return connection


def bus_of(url: str, topic: str, folder: Path) -> Bus:
    """Return a bus whose groups write down what they handle, in the order in which they do, all processes together."""
    bus, once, database = Bus(url), SqlOnce(), effects_at(folder)
    once.create_sync(database)
    files = {group: os.open(folder / group, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for group in ("counted", "ordered")}

    @bus.subscribe(topic, group="counted", concurrency=CONCURRENCY)
    async def count(_: Numbered, message: Message) -> None:
        os.write(files["counted"], f"{message.id}\n".encode())

    @bus.subscribe(topic, group="ordered", concurrency=CONCURRENCY, ordered=True)
    async def follow(_: Numbered, message: Message) -> None:
        os.write(files["ordered"], f"{message.id}\n".encode())

    @bus.subscribe(topic, group="once", concurrency=CONCURRENCY, once=once)
    async def take_effect(_: Numbered, message: Message) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            once.mark_sync(database, message)
            database.execute("INSERT INTO effects VALUES (?)", (message.id,))
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")

    return bus


async def main(url: str, topic: str, folder: Path) -> None:
    """Handle until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with bus_of(url, topic, folder):
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))

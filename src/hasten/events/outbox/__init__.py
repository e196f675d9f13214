"""Transactional outbox: a message is written in the transaction of what it tells, and published when that is committed.

    outbox = Outbox(SqliteDatabase("shop.db"))               # or PostgresDatabase(connect)

    async with transaction() as connection:
        await connection.execute("INSERT INTO orders ...")
        await outbox.add(connection, "orders.paid", order, key=order.id)
    relay.wake()                                             # else it looks by itself, once a second

    async with bus, Relay(outbox, bus) as relay: ...         # in as many processes as you like; one is active

A commit and its message never part: both are there, or neither. The message is published at least once, with one id.
"""

from hasten._core.signals import OutboxHook, OutboxLag
from hasten.events.outbox._database import Database
from hasten.events.outbox._outbox import Outbox, Waiting
from hasten.events.outbox._relay import Relay, RelayStatistics
from hasten.events.outbox.postgres import PostgresDatabase
from hasten.events.outbox.sqlite import SqliteDatabase

__all__ = (
    "Database",
    "Outbox",
    "OutboxHook",
    "OutboxLag",
    "PostgresDatabase",
    "Relay",
    "RelayStatistics",
    "SqliteDatabase",
    "Waiting",
)

"""The storefront's end of the events: written with the order, in one transaction, and handed on after that.

Who writes an event has it for `LEASE` seconds and hands it on at once: to the broker, or, without one, to `mail` and
`sales` in this process. What was left behind, by a process that was killed or a broker that was away, is due when the
lease is over, and whichever storefront looks first has it then. So orders are taken whatever is away.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from examples.shop.fast.database import Database
from examples.shop.peers.events import OrderPlaced

LEASE = 15.0
"""Seconds, more than handing on may take."""

LOOK_AGAIN = 1.0
"""Seconds between two looks for what is due."""

BATCH = 100
LONGEST_PAUSE = 300.0
"""Seconds between two tries at the most; the first pauses are 1, 2, 4 and so on."""

TABLE = """
CREATE TABLE IF NOT EXISTS peers_outbox (
    order_id INTEGER PRIMARY KEY, event TEXT NOT NULL, due REAL NOT NULL, failures INTEGER NOT NULL
)
"""
ADD = "INSERT INTO peers_outbox VALUES (?, ?, ?, 0)"
LEASE_DUE = """
UPDATE peers_outbox SET due = :until
WHERE order_id IN (SELECT order_id FROM peers_outbox WHERE due <= :now ORDER BY order_id LIMIT :limit)
RETURNING event
"""
DONE = "DELETE FROM peers_outbox WHERE order_id = ?"
FAILED = """
UPDATE peers_outbox SET failures = failures + 1, due = ? + min(?, 1 << min(failures, 30)) WHERE order_id = ?
"""
RELEASE = "UPDATE peers_outbox SET due = 0 WHERE order_id = ?"

logger = logging.getLogger("shop.events")

Deliver = Callable[[Sequence[OrderPlaced]], Awaitable[Sequence[BaseException | None]]]
"""Hands events on, and says of each what went wrong, None if nothing did."""


class Outbox:
    """Hands on what orders leave in the database."""

    def __init__(self, database: Database, deliver: Deliver) -> None:
        self._database = database
        self._deliver = deliver
        self._new: list[OrderPlaced] = []
        self._added = asyncio.Event()
        self._look_again = 0.0
        self._closing = False

    def hand_on(self, event: OrderPlaced) -> None:
        """Have an event handed on that `add` has written; its transaction is committed."""
        self._new.append(event)
        self._added.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hand on while the block runs; at its end, finish what is under way, and leave the rest to others at once."""
        await self._database.write(create_table)
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._closing = True
            self._added.set()
            await asyncio.wait([task])
            await self._database.write(release, self._new)

    async def _run(self) -> None:
        while not self._closing:
            try:
                events = await self._next()
                if events:
                    await self._settle(events, await self._deliver(events))
            except Exception:  # whatever it is, orders are taken; what is under lease comes again
                logger.exception("events are not handed on for now")
                await asyncio.sleep(LOOK_AGAIN)

    async def _next(self) -> list[OrderPlaced]:
        """Return what is new or due, without either an empty list after a while."""
        wait = self._look_again - time.monotonic()
        if wait > 0 and not self._new and not self._closing:
            self._added.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._added.wait()
        events, self._new = self._new[:BATCH], self._new[BATCH:]
        if time.monotonic() >= self._look_again:
            due = await self._database.write(lease_due)
            self._look_again = time.monotonic() + (LOOK_AGAIN if len(due) < BATCH else 0.0)
            events += due
        return events

    async def _settle(self, events: Sequence[OrderPlaced], outcomes: Sequence[BaseException | None]) -> None:
        outcome_of = {event.order_id: outcome for event, outcome in zip(events, outcomes, strict=True)}
        failures = {order_id: outcome for order_id, outcome in outcome_of.items() if outcome is not None}
        if failures:
            order_id, error = next(iter(failures.items()))
            logger.warning("%d events wait to be tried again, as order %d: %r", len(failures), order_id, error)
        await self._database.write(settle, outcome_of.keys() - failures.keys(), failures.keys())


def create_table(connection: sqlite3.Connection) -> None:
    """Make the outbox where there is none."""
    connection.execute(TABLE)


def add(connection: sqlite3.Connection, event: OrderPlaced) -> None:
    """Write an event in the connection's transaction, and have it under lease."""
    connection.execute(ADD, (event.order_id, event.model_dump_json(), time.time() + LEASE))


def lease_due(connection: sqlite3.Connection) -> list[OrderPlaced]:
    """Take the events that are due, so that no other process does."""
    now = time.time()
    rows = connection.execute(LEASE_DUE, {"until": now + LEASE, "now": now, "limit": BATCH})
    return [OrderPlaced.model_validate_json(event) for (event,) in rows]


def settle(connection: sqlite3.Connection, done: Iterable[int], failed: Iterable[int]) -> None:
    """Forget what was handed on, and have the rest tried again later."""
    connection.executemany(DONE, [(order_id,) for order_id in done])
    now = time.time()
    connection.executemany(FAILED, [(now, LONGEST_PAUSE, order_id) for order_id in failed])


def release(connection: sqlite3.Connection, events: Sequence[OrderPlaced]) -> None:
    """Give up the lease."""
    connection.executemany(RELEASE, [(event.order_id,) for event in events])

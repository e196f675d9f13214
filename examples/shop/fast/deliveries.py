"""The storefront's end of the events: out of the database, to the broker.

Orders are taken whether the broker is there or not: their events wait in the outbox, and are published when it is back.
Of several storefronts one publishes, and if it dies another one does.

Without a broker the storefront handles the events, too. `memory` keeps them in a file, which one process has at a time;
the other storefronts try again and again, and have it when that one is gone.
"""

import asyncio
import logging
import sqlite3
from typing import Self

from examples.shop.fast.consumers import Consumers
from examples.shop.fast.events import OrderPlaced
from examples.shop.fast.settings import Settings
from hasten.events import Bus
from hasten.events.outbox import Outbox, Relay, SqliteDatabase

TRY_AGAIN = 1.0
"""Seconds until a broker that was not there, or a file that another storefront has, is tried again."""

LEASE = 5.0
"""Seconds until another storefront publishes in the place of one that was killed."""

logger = logging.getLogger("shop.storefront")


class Deliveries:
    """Publishes what orders leave in the outbox, while the storefront runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outbox = Outbox(SqliteDatabase(settings.database), origin="storefront")
        self.bus = Consumers(settings) if settings.broker is None else Bus(settings.broker_url)
        self.relay = Relay(self._outbox, self.bus, lease=LEASE)

    def create_tables(self, connection: sqlite3.Connection) -> None:
        """Make the outbox where there is none."""
        self._outbox.create_sync(connection)

    def add(self, connection: sqlite3.Connection, event: OrderPlaced) -> None:
        """Write an event in the connection's transaction; its id is the same whoever publishes it, and how often."""
        self._outbox.add_sync(
            connection,
            self._settings.topic,
            event,
            key=str(event.product_id),
            message_id=f"order-{event.order_id}",
        )

    def wake(self) -> None:
        """Have it published at once: it was committed. Another storefront's relay looks once in a second."""
        self.relay.wake()

    async def __aenter__(self) -> Self:
        self._living = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish what is being published and handled; what is left in the outbox is for who comes next."""
        self._living.cancel()
        await asyncio.wait([self._living])

    async def _live(self) -> None:
        said = ""
        while True:
            try:
                async with self.bus, self.relay:
                    await asyncio.Event().wait()  # until it is cancelled
            except Exception as error:  # whatever it is, orders are taken
                if repr(error) != said:
                    said = repr(error)
                    logger.warning("publishes no events for now: %s: %s", type(error).__name__, error)
            await asyncio.sleep(TRY_AGAIN)

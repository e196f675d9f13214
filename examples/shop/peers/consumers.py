"""`python -m examples.shop.peers.consumers`: take events from the broker until SIGTERM or SIGINT.

Both groups get every event, each of them at its own pace.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import stamina
import uvloop
from faststream import FastStream

from examples.shop.fast.database import Database, open_database
from examples.shop.peers import mail, sales
from examples.shop.peers.brokers import broker_of
from examples.shop.peers.events import OrderPlaced
from examples.shop.peers.partners import UNREACHABLE, Partners, open_partners
from examples.shop.peers.settings import Settings

ATTEMPTS, RETRIES_SECONDS, LONGEST_WAIT = 10, 120.0, 30.0
"""How often and how long a mail is tried; then its event is for the broker to bring again."""


class Consumers:
    """The groups, and what they work with: opened before the first event, closed after the last."""

    _database: Database
    _partners: Partners

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open what the groups need."""
        async with AsyncExitStack() as stack:
            self._database = await stack.enter_async_context(open_database(self._settings.database))
            self._partners = await stack.enter_async_context(open_partners(self._settings))
            await self._database.write(mail.create_table)
            await self._database.write(sales.create_tables)
            yield

    async def confirm(self, orders: Sequence[OrderPlaced]) -> None:
        """Send the mails, all at once; when one cannot be sent all come again, and those that were sent are known."""
        outcomes = await asyncio.gather(*(self._confirm(order) for order in orders), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    @stamina.retry(on=UNREACHABLE, attempts=ATTEMPTS, timeout=RETRIES_SECONDS, wait_max=LONGEST_WAIT)
    async def _confirm(self, order: OrderPlaced) -> None:
        await mail.confirm(self._database, self._partners, order)

    async def count(self, orders: Sequence[OrderPlaced]) -> None:
        """Count what was sold."""
        await self._database.write(sales.count, orders)


def application(settings: Settings) -> FastStream:
    """Return what runs the consumers."""
    consumers, broker = Consumers(settings), broker_of(settings)
    broker.subscribe("mail", consumers.confirm)
    broker.subscribe("sales", consumers.count)

    def ready() -> None:
        print(f"shop: consumers consumes {settings.topic}", file=sys.stderr, flush=True)

    return FastStream(broker.broker, lifespan=consumers.opened, after_startup=[ready], logger=None)


if __name__ == "__main__":
    uvloop.run(application(Settings.from_environment(os.environ)).run())

"""Where the outbox hands events on to: the broker, or `mail` and `sales` in this process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from examples.shop.fast.database import Database
from examples.shop.peers import mail, sales
from examples.shop.peers.brokers import Broker, broker_of
from examples.shop.peers.events import OrderPlaced
from examples.shop.peers.outbox import Deliver
from examples.shop.peers.partners import Partners
from examples.shop.peers.settings import Settings

Outcomes = Sequence[BaseException | None]


@asynccontextmanager
async def open_deliveries(settings: Settings, database: Database, partners: Partners) -> AsyncIterator[Deliver]:
    """Give the block what the outbox hands events to."""
    if settings.broker is None:
        await database.write(mail.create_table)
        await database.write(sales.create_tables)
        yield Handled(database, partners).deliver
        return
    published = Published(broker_of(settings))
    try:
        yield published.deliver
    finally:
        await published.aclose()


class Handled:
    """Handles events in the storefront."""

    def __init__(self, database: Database, partners: Partners) -> None:
        self._database = database
        self._partners = partners

    async def deliver(self, events: Sequence[OrderPlaced]) -> Outcomes:
        """Count what was sold, then send the mails, all at once."""
        await self._database.write(sales.count, events)
        mails = (mail.confirm(self._database, self._partners, event) for event in events)
        return await asyncio.gather(*mails, return_exceptions=True)


class Published:
    """Publishes events; the broker is connected to when there is one to publish, again and again until it is there."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._started = False

    async def deliver(self, events: Sequence[OrderPlaced]) -> Outcomes:
        """Publish all at once, and wait until the broker has them."""
        try:
            await self._start()
        except Exception as error:  # aio-pika's and aiokafka's have no root in common
            return [error] * len(events)
        return await asyncio.gather(*(self._broker.publish(event) for event in events), return_exceptions=True)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._broker.broker.stop()

    async def _start(self) -> None:
        if not self._started:
            await self._broker.start_publishing()
            self._started = True

"""Who gets the events: `hasten run examples.shop.fast.consumers:bus`, or the storefront if there is no broker."""

import os
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from examples.shop.fast import mail, sales
from examples.shop.fast.database import Database, open_database
from examples.shop.fast.events import OrderPlaced
from examples.shop.fast.partners import Partners
from examples.shop.fast.settings import Settings
from hasten.events import Bus, Message
from hasten.events.once.memory import MemoryOnce
from hasten.events.once.sql import SqlOnce

DRAIN = 6.0
"""Seconds for what is under way when the process ends: more than a mail may take."""


class Consumers(Bus):
    """A bus with the shop's consumers, and what they work with: opened before the first event, closed after the last.

    Both groups get every event, each of them at its own pace.
    """

    _database: Database

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.broker_url, drain=DRAIN)
        self._settings = settings
        self._partners = Partners(settings)
        self._counted = SqlOnce()
        self._consume_for_mail()
        self._consume_for_sales()

    def _consume_for_mail(self) -> None:
        # MemoryOnce keeps two deliveries of an event apart that come at the same time; the table is for the rest.
        @self.subscribe(self._settings.topic, group="mail", retry=mail.RETRIES, once=MemoryOnce())
        async def confirm(order: OrderPlaced) -> None:
            if not await self._database.read(mail.was_sent, order.order_id):
                await mail.send(self._partners, order)
                await self._database.write(mail.note_sent, order.order_id)

    def _consume_for_sales(self) -> None:
        @self.subscribe(self._settings.topic, group="sales", once=self._counted)
        async def count(order: OrderPlaced, message: Message) -> None:
            await self._database.write(sales.add, self._counted, order, message)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._partners.opened())
            self._database = await stack.enter_async_context(open_database(self._settings.database))
            await self._database.write(mail.create_table)
            await self._database.write(sales.create_tables, self._counted)
            await super().__aenter__()
            self._opened = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        async with self._opened:
            await super().__aexit__(kind, error, traceback)


bus = Consumers(Settings.from_environment(os.environ))

"""Taking an order: pieces, money, the order itself. Each step needs the one before; what follows from it is told.

The event is written with the order, in one transaction: `events` says who gets it.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from cashews import Cache
from fastapi import HTTPException

from examples.shop.fast.database import Database
from examples.shop.fast.models import NewOrder, Order
from examples.shop.peers import outbox
from examples.shop.peers.backends import Backends
from examples.shop.peers.events import OrderPlaced
from examples.shop.peers.freshness import forget
from examples.shop.peers.outbox import Outbox
from examples.shop.peers.partners import UNREACHABLE, Partners
from examples.shop.proto.pricing_pb2 import Price
from examples.shop.proto.stock_pb2 import Level

NEW_ORDER = """
INSERT INTO orders (product_id, quantity, total_cents, payment_reference, day, created)
VALUES (?, ?, ?, ?, ?, ?)
"""
LONGEST_ADDRESS = 320
"""Characters of an e-mail address. What is none may be of any length, and have lone surrogates in it; an event may not,
and an order that is paid must not fail for it."""

logger = logging.getLogger("shop.storefront")


@dataclass(frozen=True, slots=True)
class Orders:
    """Takes orders."""

    backends: Backends
    partners: Partners
    database: Database
    cache: Cache
    outbox: Outbox

    async def place(self, order: NewOrder) -> Order:
        """Take the pieces and the money, and write the order with its event.

        Raises:
          HTTPException: 404 for an unknown product, 402 for a declined payment, 503 when payments cannot be reached.
          AioRpcError: a call failed; FAILED_PRECONDITION when there are not enough pieces.
        """
        price = await self._current_price(order.product_id)
        total_cents = price.amount_cents * order.quantity
        async with self._taken_from_stock(order) as level:
            reference = await self._paid(total_cents, price.currency, f"Your order from {level.warehouse}")
        event = await self.database.write(save_order, order, total_cents, reference, level.warehouse)
        self.outbox.hand_on(event)
        await forget(self.cache, order.product_id)
        return Order(
            order_id=event.order_id,
            product_id=order.product_id,
            quantity=order.quantity,
            total_cents=total_cents,
            currency=price.currency,
            payment_reference=reference,
        )

    async def _current_price(self, product_id: int) -> Price:
        """Ask what a product costs; 404 for an unknown one."""
        reply = await self.backends.prices([product_id])
        if not reply.prices:
            raise HTTPException(404, "no such product")
        return reply.prices[0]

    @asynccontextmanager
    async def _taken_from_stock(self, order: NewOrder) -> AsyncIterator[Level]:
        """Take the pieces of an order out of stock; they go back when the block fails or is cancelled."""
        level = await self.backends.change_level(order.product_id, -order.quantity)
        try:
            yield level
        except BaseException:
            await self.backends.change_level(order.product_id, order.quantity)
            await forget(self.cache, order.product_id)
            raise

    async def _paid(self, amount_cents: int, currency: str, purpose: str) -> str:
        """Take the money and return the payment's reference; 402 when it was declined, 503 without an answer.

        Without an answer nobody knows whether the money was taken: the log says which payment to look for.
        """
        try:
            reference = await self.partners.charge(amount_cents, currency, purpose)
        except UNREACHABLE as error:
            logger.error("payment of %d cents for %r is uncertain: %r", amount_cents, purpose, error)
            raise HTTPException(503, "the payment could not be made") from error
        if reference is None:
            raise HTTPException(402, "the payment was declined")
        return reference


def save_order(
    connection: sqlite3.Connection, order: NewOrder, total_cents: int, reference: str, warehouse: str
) -> OrderPlaced:
    """Write a paid order and its event, both or neither, and return the event."""
    now = datetime.now()
    row = (order.product_id, order.quantity, total_cents, reference, now.date().isoformat(), now.isoformat())
    number = connection.execute(NEW_ORDER, row).lastrowid
    assert number is not None
    event = OrderPlaced(
        order_id=number,
        product_id=order.product_id,
        quantity=order.quantity,
        total_cents=total_cents,
        day=now.date().isoformat(),
        warehouse=warehouse,
        email=order.email[:LONGEST_ADDRESS].encode(errors="replace").decode(),
    )
    outbox.add(connection, event)
    return event

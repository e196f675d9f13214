"""What was sold, by product and day, as events tell it: each of them counts once, however often it comes."""

import sqlite3

from examples.shop.fast.events import OrderPlaced
from hasten.events import Message
from hasten.events.once.sql import SqlOnce

TABLE = """
CREATE TABLE IF NOT EXISTS sales (
    day TEXT NOT NULL, product_id INTEGER NOT NULL, orders INTEGER NOT NULL, pieces INTEGER NOT NULL,
    revenue_cents INTEGER NOT NULL, PRIMARY KEY (day, product_id)
) WITHOUT ROWID
"""
ADD = """
INSERT INTO sales VALUES (?, ?, 1, ?, ?) ON CONFLICT (day, product_id) DO UPDATE SET
orders = orders + 1, pieces = pieces + excluded.pieces, revenue_cents = revenue_cents + excluded.revenue_cents
"""
REMEMBERED = 30 * 86_400.0
"""Seconds for which an event is known again; older than that none comes."""


def create_tables(connection: sqlite3.Connection, once: SqlOnce) -> None:
    """Make the tables where there are none, and forget what is too old to come again."""
    connection.execute(TABLE)
    once.create_sync(connection)
    once.clean_sync(connection, REMEMBERED)


def add(connection: sqlite3.Connection, once: SqlOnce, order: OrderPlaced, message: Message) -> None:
    """Count an order, and note in the same transaction that it was.

    Raises:
      AlreadyDone: it was counted before; the transaction is rolled back.
    """
    once.mark_sync(connection, message)
    connection.execute(ADD, (order.day, order.product_id, order.quantity, order.total_cents))

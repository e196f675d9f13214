"""What was sold, by product and day, as events tell it: each of them counts once, however often it comes."""

import sqlite3
from collections.abc import Iterable

from examples.shop.peers.events import OrderPlaced

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS sales (
        day TEXT NOT NULL, product_id INTEGER NOT NULL, orders INTEGER NOT NULL, pieces INTEGER NOT NULL,
        revenue_cents INTEGER NOT NULL, PRIMARY KEY (day, product_id)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS peers_counted (order_id INTEGER PRIMARY KEY)",
)
COUNTED = "INSERT OR IGNORE INTO peers_counted VALUES (?)"
ADD = """
INSERT INTO sales VALUES (?, ?, 1, ?, ?) ON CONFLICT (day, product_id) DO UPDATE SET
orders = orders + 1, pieces = pieces + excluded.pieces, revenue_cents = revenue_cents + excluded.revenue_cents
"""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none."""
    for table in TABLES:
        connection.execute(table)


def count(connection: sqlite3.Connection, orders: Iterable[OrderPlaced]) -> None:
    """Count orders that were not counted before, and note in the same transaction that they are."""
    for order in orders:
        if connection.execute(COUNTED, (order.order_id,)).rowcount:
            connection.execute(ADD, (order.day, order.product_id, order.quantity, order.total_cents))

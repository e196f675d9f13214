"""The confirmation of an order. No order waits for it, or fails with it: the partner may be away for half an hour.

A mail that was sent is not sent again, however often its event comes: a table says so, beside the orders. Only a
process that is killed between the partner's answer and the note lets one be sent twice.
"""

import logging
import sqlite3
from datetime import datetime

from examples.shop.fast.database import Database
from examples.shop.peers.events import OrderPlaced
from examples.shop.peers.partners import MailRefused, Partners

TABLE = "CREATE TABLE IF NOT EXISTS mails (order_id INTEGER PRIMARY KEY, sent TEXT NOT NULL)"

logger = logging.getLogger("shop.events")


def create_table(connection: sqlite3.Connection) -> None:
    """Make the table of what was sent where there is none."""
    connection.execute(TABLE)


def was_sent(connection: sqlite3.Connection, order_id: int) -> bool:
    """Read whether the mail of an order was sent."""
    return connection.execute("SELECT 1 FROM mails WHERE order_id = ?", (order_id,)).fetchone() is not None


def note_sent(connection: sqlite3.Connection, order_id: int) -> None:
    """Write that the mail of an order was sent."""
    connection.execute("INSERT OR IGNORE INTO mails VALUES (?, ?)", (order_id, datetime.now().isoformat()))


async def confirm(database: Database, partners: Partners, order: OrderPlaced) -> None:
    """Tell the customer that the order was taken, unless it was told; one of `UNREACHABLE` if it is to be told later.

    What the partner will never send is for the log: nobody else can be told.
    """
    if await database.read(was_sent, order.order_id):
        return
    try:
        await partners.send_mail(order.email, f"Your order {order.order_id}")
    except MailRefused as error:
        logger.error("no confirmation of order %d to %r: %s", order.order_id, order.email, error)
        return
    await database.write(note_sent, order.order_id)

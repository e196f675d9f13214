"""The confirmation of an order. No order waits for it, or fails with it: the partner may be away for half an hour.

A mail that was sent is not sent again, however often its event comes: a table says so, beside the orders. Only a
process that is killed between the partner's answer and the note lets one be sent twice.
"""

import sqlite3
from datetime import datetime

from examples.shop.fast.events import OrderPlaced
from examples.shop.fast.partners import Partners
from hasten.events import Reject, RetryPolicy
from hasten.http.client import HttpStatusError

RETRIES = RetryPolicy(13, first=1.0, longest=300.0)
"""For half an hour; then the event is a dead letter, which `hasten events replay` brings back."""

REFUSALS = {400, 422}
"""The partner's answers by which the mail itself is wrong."""

TABLE = "CREATE TABLE IF NOT EXISTS mails (order_id INTEGER PRIMARY KEY, sent TEXT NOT NULL)"


def create_table(connection: sqlite3.Connection) -> None:
    """Make the table of what was sent where there is none."""
    connection.execute(TABLE)


def was_sent(connection: sqlite3.Connection, order_id: int) -> bool:
    """Read whether the mail of an order was sent."""
    return connection.execute("SELECT 1 FROM mails WHERE order_id = ?", (order_id,)).fetchone() is not None


def note_sent(connection: sqlite3.Connection, order_id: int) -> None:
    """Write that the mail of an order was sent."""
    connection.execute("INSERT OR IGNORE INTO mails VALUES (?, ?)", (order_id, datetime.now().isoformat()))


async def send(partners: Partners, order: OrderPlaced) -> None:
    """Tell the customer that the order was taken.

    Raises:
      Reject: the partner will never send this one.
      HastenError: it may do so later.
    """
    try:
        await partners.send_mail(order.email, f"Your order {order.order_id}")
    except HttpStatusError as error:
        if error.status in REFUSALS:
            raise Reject(f"the mail partner answers {error.status}") from error
        raise

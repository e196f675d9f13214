"""The daily report: the database adds up, in a thread, and the event loop goes on."""

import sqlite3

from examples.shop.fast.models import DailyReport, DayTotals

REPORT_DAYS = 35
DAILY_TOTALS = """
SELECT day, count(*) AS orders, sum(quantity) AS pieces, sum(total_cents) AS revenue_cents,
    max(total_cents) AS largest_order_cents
FROM orders WHERE day >= (SELECT min(day) FROM (SELECT DISTINCT day FROM orders ORDER BY day DESC LIMIT ?))
GROUP BY day ORDER BY day
"""


def load_daily_report(connection: sqlite3.Connection) -> DailyReport:
    """Read the totals of the last 35 days that had orders."""
    days = [DayTotals(**row) for row in connection.execute(DAILY_TOTALS, (REPORT_DAYS,))]
    return DailyReport(
        days=days,
        orders=sum(day.orders for day in days),
        revenue_cents=sum(day.revenue_cents for day in days),
    )

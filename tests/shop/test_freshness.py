"""After an order nobody is shown the price, the stock or the report of before, in any edition, whatever Redis does."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest

from tests.shop.market import REPORT, SHOWN_ON, Market, market, new_orders
from tests.shop.running import Shop

PRODUCT = 1_234
PIECES = 3
BUYERS, LOOKERS = 6, 6


# ---- one customer


def test_stock_and_report_after_an_order(shop: Shop) -> None:
    """Who has ordered is shown what is left, on every page that shows it, and a report with the order in it."""
    pages = [f"/products/{PRODUCT}", f"/products/{shop.value(SHOWN_ON, PRODUCT)}"]
    for _ in range(3):
        seen = [left(shop.http.get(page)) for page in pages * 2]
        orders = new_orders(shop.http.get(REPORT).json())
        assert shop.http.post("/orders", json={"product_id": PRODUCT, "quantity": PIECES}).status_code == 201
        assert [left(shop.http.get(page)) for page in pages * 2] == [available - PIECES for available in seen]
        assert new_orders(shop.http.get(REPORT).json()) == orders + 1


def test_stock_after_a_refused_order(shop: Shop) -> None:
    """The pieces of an order that could not be paid are shown again."""
    query = """SELECT product_id, available FROM stock JOIN prices USING (product_id)
    WHERE available * coalesce(sale_cents, list_cents) * 0.8 > 11000000 LIMIT 1"""
    product, available = shop.rows(query)[0]
    assert shop.http.post("/orders", json={"product_id": product, "quantity": available}).status_code == 402
    assert shop.http.get(f"/products/{product}").json()["stock"]["available"] == available


def test_price_after_an_order(shop: Shop) -> None:
    """An order costs what the product costs at that moment, and from then on that is what its page shows."""
    page = f"/products/{PRODUCT}"
    category = shop.value("SELECT category_id FROM products WHERE id = ?", PRODUCT)
    for percent in (50, 0):
        before = shop.http.get(page).json()["price"]
        with closing(sqlite3.connect(shop.database)) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO campaigns VALUES (?, ?)", (category, percent))
        paid = shop.http.post("/orders", json={"product_id": PRODUCT, "quantity": 1}).json()["total_cents"]
        after = shop.http.get(page).json()["price"]
        assert paid == after["amount_cents"] != before["amount_cents"]


def left(answer: httpx.Response) -> int:
    """How many pieces a page says are left, of its product or of one that it shows beside it."""
    page = answer.json()
    others = {other["id"]: other["available"] for other in page["related"]}
    return int(page["stock"]["available"] if page["id"] == PRODUCT else others[PRODUCT])


# ---- many at once


def test_many_customers(shop: Shop) -> None:
    """While others order through any storefront, each one shows what was answered before it was asked."""
    orders = 15 if len(shop.urls) == 1 else 150  # the slow edition has one storefront, and takes its time

    async def shopping() -> Market:
        async with market(shop, seed=len(shop.urls)) as customers:
            async with customers.opened(buyers=BUYERS, lookers=LOOKERS):
                await customers.after(orders=orders, looks=2 * orders)
            return customers

    customers = asyncio.run(shopping())
    kept = {kind for kind, state in customers.looks if state == "hit"}
    assert kept == ({"own", "beside", "report"} if shop.redis else set())


@pytest.mark.parametrize("shop", ["fast with Redis"], indirect=True)
@pytest.mark.parametrize(("ill", "moments"), [("frozen", 3), ("killed", 1)])
def test_ill_redis(shop: Shop, ill: str, moments: int) -> None:
    """The shop goes on while Redis is ill and when it is back, and shows nothing from before an order either.

    Redis is ill for moments in which it is looked at, and once until an order that was begun then is answered, and with
    it those that were begun before.
    """
    redis = shop.redis
    assert redis is not None

    @contextmanager
    def illness() -> Iterator[None]:
        redis.freeze() if ill == "frozen" else redis.kill()
        try:
            yield
        finally:
            redis.thaw() if ill == "frozen" else redis.start()

    async def shopping() -> None:
        async with market(shop, seed=7) as customers, customers.opened(buyers=BUYERS, lookers=LOOKERS):
            for _ in range(moments):
                await customers.after(orders=10, looks=10)
                with illness():
                    await customers.after(looks=30)
            await customers.after(orders=10, looks=10)
            with illness():
                await customers.order()
            await customers.after(orders=2 * BUYERS, looks=10)

    asyncio.run(shopping())

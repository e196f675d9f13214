"""After an order nobody is shown the price, the stock or the report of before, in any edition, whatever Redis does."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cache.backplanes.servers import RedisServer
from tests.shop.market import REPORT, SHOWN_ON, Market, market, new_orders
from tests.shop.running import Launched, Shop, launch

PRODUCT = 1_234
PIECES = 3
BUYERS = 3


@contextmanager
def storefronts(edition: str, count: int, database: Path, redis: str = "") -> Iterator[tuple[Launched, Shop]]:
    """Run an edition with so many storefronts."""
    command = ["-m", "examples.shop", edition, "--port", "0", "--storefronts", str(count), "--database", str(database)]
    launched = launch(command, redis)
    try:
        with httpx.Client(base_url=launched.url, timeout=20) as http:
            yield launched, Shop(http, database)
    finally:
        code = launched.stop()
    assert code == 0


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


@pytest.mark.parametrize(
    ("edition", "processes", "orders"),
    [("slow", 1, 15), ("fast", 2, 150), ("fast with Redis", 2, 150)],
    ids=lambda value: str(value),
)
def test_many_customers(
    request: pytest.FixtureRequest, data_set: Path, tmp_path: Path, edition: str, processes: int, orders: int
) -> None:
    """While others order through any storefront, each one shows what was answered before it was asked."""
    edition, _, with_redis = edition.partition(" ")
    url = request.getfixturevalue("redis").url if with_redis else ""

    async def shopping(launched: Launched, shop: Shop) -> Market:
        async with market(launched.urls, shop, seed=processes) as customers:
            async with customers.opened(buyers=BUYERS, lookers=6):
                await customers.after(orders)
            return customers

    database = Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))
    with storefronts(edition, processes, database, url) as (launched, shop):
        customers = asyncio.run(shopping(launched, shop))
    assert customers.looks.total() > orders
    assert bool(customers.looks["hit"]) is bool(with_redis)


@pytest.mark.parametrize(("ill", "orders"), [("frozen", (1, 1, 1, BUYERS + 1)), ("killed", (1, BUYERS + 1))])
def test_ill_redis(data_set: Path, tmp_path: Path, redis: RedisServer, ill: str, orders: tuple[int, ...]) -> None:
    """The shop goes on while Redis is ill and when it is back, and shows nothing from before an order either.

    Redis is ill for so many orders each time: for one, that may have begun before, and for one that has begun then.
    """

    async def shopping(launched: Launched, shop: Shop) -> None:
        async with market(launched.urls, shop, seed=7) as customers, customers.opened(buyers=BUYERS, lookers=6):
            await customers.after(20)
            for count in orders:
                redis.freeze() if ill == "frozen" else redis.kill()
                await customers.after(count)
                redis.thaw() if ill == "frozen" else redis.start()
                await customers.after(10)

    database = Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))
    with storefronts("fast", 2, database, redis.url) as (launched, shop):
        asyncio.run(shopping(launched, shop))

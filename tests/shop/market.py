"""Customers who order and look at the same time, and what each of them may be shown.

An order counts for who asks after it was answered, and may count for who is answered after it was begun. Between the
two anything goes; what is outside of them is stale, or sold twice.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from examples.shop.data import LAST_DAY
from tests.shop.running import Shop

TAKEN = 201
FOUND = 200
PRODUCTS = "SELECT product_id, available FROM stock WHERE available > 400 ORDER BY product_id LIMIT 3"
SHOWN_ON = "SELECT product_id FROM related WHERE related_id = ? LIMIT 1"
NEW_ORDERS = "SELECT count(*) FROM orders WHERE day > ?"
REPORT = "/reports/daily"


@dataclass(slots=True)
class Sold:
    """How much of something was sold: pieces of a product, or orders."""

    begun: int = 0
    answered: int = 0


@dataclass(slots=True)
class Market:
    """Random orders and looks through random storefronts.

    Attributes:
      available: Pieces of each product before the first order.
      shown_on: A page of another product that shows a product, too.
      orders: Those that were there before, too.
      looks: How many answers were looked at, by what they show, "own", "beside" or "report", and where they came from
        (`X-Cache`; "" if they do not say).
    """

    storefronts: Sequence[httpx.AsyncClient]
    available: dict[int, int]
    shown_on: dict[int, int]
    chance: random.Random
    orders: Sold
    sold: dict[int, Sold] = field(init=False)
    looks: Counter[tuple[str, str]] = field(default_factory=Counter)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.sold = {product: Sold() for product in self.available}

    async def order(self) -> None:
        """Buy something."""
        product, quantity = self.chance.choice(list(self.sold)), self.chance.randint(1, 3)
        sold = self.sold[product]
        sold.begun += quantity
        self.orders.begun += 1
        answer = await self.chance.choice(self.storefronts).post(
            "/orders", json={"product_id": product, "quantity": quantity}
        )
        assert answer.status_code == TAKEN, answer.text
        sold.answered += quantity
        self.orders.answered += 1
        await self._tell()

    async def look(self) -> None:
        """Look at a page of a product, at one that shows it beside others, or at the report."""
        product = self.chance.choice(list(self.sold))
        pages = {"own": f"/products/{product}", "beside": f"/products/{self.shown_on[product]}", "report": REPORT}
        kind, path = self.chance.choice(list(pages.items()))
        sold = self.orders if path == REPORT else self.sold[product]
        answered = sold.answered
        answer = await self.chance.choice(self.storefronts).get(path)
        assert answer.status_code == FOUND, answer.text
        self.looks[kind, answer.headers.get("x-cache", "")] += 1
        await self._tell()
        shown = self._shown(path, product, answer)
        assert answered <= shown <= sold.begun, f"{path}: {shown} sold; answered {answered}, begun {sold.begun}"

    def _shown(self, path: str, product: int, answer: httpx.Response) -> int:
        """Return how many pieces or orders are sold, by what an answer shows."""
        page = answer.json()
        if path == REPORT:
            return new_orders(page)
        left = {page["id"]: page["stock"]["available"]} | {other["id"]: other["available"] for other in page["related"]}
        return self.available[product] - int(left[product])

    async def after(self, *, orders: int = 0, looks: int = 0) -> None:
        """Return when so many more orders and looks were answered."""
        ordered, looked = self.orders.answered + orders, self.looks.total() + looks
        async with self.changed:
            await self.changed.wait_for(lambda: self.orders.answered >= ordered and self.looks.total() >= looked)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    @asynccontextmanager
    async def opened(self, *, buyers: int, lookers: int) -> AsyncIterator[None]:
        """Let so many customers do one thing after the other while the block runs.

        Raises:
          ExceptionGroup: of AssertionError, when one was shown what is not so, or was not served.
        """
        closed = asyncio.Event()

        async def again_and_again(buyer: bool) -> None:  # noqa: FBT001
            while not closed.is_set():
                await (self.order() if buyer else self.look())

        async with asyncio.TaskGroup() as customers:
            for number in range(buyers + lookers):
                customers.create_task(again_and_again(number < buyers))
            try:
                yield
            finally:
                closed.set()


def new_orders(report: Any) -> int:
    """How many orders a report counts that are not of the data set."""
    return sum(day["orders"] for day in report["days"] if day["day"] > LAST_DAY.date().isoformat())


@asynccontextmanager
async def market(shop: Shop, seed: int) -> AsyncIterator[Market]:
    """Go to the storefronts; nobody else may order there meanwhile."""
    available = dict(shop.rows(PRODUCTS))
    shown_on = {product: shop.value(SHOWN_ON, product) for product in available}
    ordered = shop.value(NEW_ORDERS, LAST_DAY.date().isoformat())
    clients = [httpx.AsyncClient(base_url=url, timeout=30) for url in shop.urls]
    try:
        yield Market(clients, available, shown_on, random.Random(seed), Sold(ordered, ordered))
    finally:
        for client in clients:
            with suppress(httpx.HTTPError):
                await client.aclose()

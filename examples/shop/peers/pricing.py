"""pricing: what products cost today. The price list is read once, campaigns may change at any time."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import grpc.aio

from examples.shop.fast.database import Database
from examples.shop.proto.pricing_pb2 import DESCRIPTOR, ExchangeRate, GetPricesReply, GetPricesRequest, Price
from examples.shop.proto.pricing_pb2_grpc import PricingServicer, add_PricingServicer_to_server

PRICES = """
SELECT products.id, category_id, list_cents, coalesce(sale_cents, list_cents), currency
FROM prices JOIN products ON products.id = prices.product_id
"""
LARGEST_BATCH = 100


class ListedPrice(NamedTuple):
    """What a product costs before campaigns."""

    product_id: int
    category_id: int
    list_cents: int
    sale_cents: int
    currency: str

    def after(self, percent_off: Mapping[int, int]) -> Price:
        """Return the price after the campaign of the product's category."""
        amount = self.sale_cents * (100 - percent_off.get(self.category_id, 0)) // 100
        return Price(
            product_id=self.product_id, list_cents=self.list_cents, amount_cents=amount, currency=self.currency
        )


class Pricing(PricingServicer):
    """`shop.v1.Pricing`: the price list in memory, campaigns from the database."""

    def __init__(
        self, database: Database, price_list: Mapping[int, ListedPrice], rates: Sequence[ExchangeRate]
    ) -> None:
        self._database = database
        self._price_list = price_list
        self._rates = rates

    async def GetPrices(  # noqa: N802
        self, request: GetPricesRequest, context: grpc.aio.ServicerContext[GetPricesRequest, GetPricesReply]
    ) -> GetPricesReply:
        """Return the prices of several products, with the campaigns read once for all of them."""
        if len(request.product_ids) > LARGEST_BATCH:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"more than {LARGEST_BATCH} products")
        percent_off = await self._database.read(load_campaigns)
        listed = (self._price_list.get(product_id) for product_id in request.product_ids)
        return GetPricesReply(prices=[price.after(percent_off) for price in listed if price], rates=self._rates)


def load_price_list(connection: sqlite3.Connection) -> dict[int, ListedPrice]:
    """Read the price list, by product."""
    return {row[0]: ListedPrice(*row) for row in connection.execute(PRICES)}


def load_rates(connection: sqlite3.Connection) -> list[ExchangeRate]:
    """Read today's exchange rates."""
    return [ExchangeRate(**row) for row in connection.execute("SELECT currency, per_euro FROM rates")]


def load_campaigns(connection: sqlite3.Connection) -> dict[int, int]:
    """Read today's campaigns: percent off, by category."""
    return dict(connection.execute("SELECT category_id, percent FROM campaigns").fetchall())


async def add_service(server: grpc.aio.Server, database: Database) -> str:
    """Read the price list, add pricing to a server and return the service's full name."""
    price_list, rates = await database.read(load_price_list), await database.read(load_rates)
    add_PricingServicer_to_server(Pricing(database, price_list, rates), server)
    return DESCRIPTOR.services_by_name["Pricing"].full_name

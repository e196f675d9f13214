"""Everything that a product's page shows, in two rounds of calls however many products are related.

GetReviews ─┬─ GetPrices ─┬─ page
GetProduct ─┴─ GetLevels ─┘

Product and reviews are one entry of the cache, so that Redis is asked once.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from cashews import Cache
from pydantic_core import to_json

from examples.shop.fast.models import ProductPage
from examples.shop.peers.backends import Backends
from examples.shop.peers.freshness import FRESH, PAGE, STALE, Kept, remaining
from examples.shop.proto.pricing_pb2 import ExchangeRate, GetPricesReply
from examples.shop.proto.stock_pb2 import GetLevelsReply


class ProductPages:
    """Makes pages, and keeps them and what they are made of."""

    def __init__(self, backends: Backends, cache: Cache) -> None:
        self._backends = backends
        # Not protected: who asks for a page waits for who makes it already.
        told = cache.early(ttl=STALE, early_ttl=FRESH, key="product:{product_id}", protected=False)
        self._product_and_reviews = told(self._load)
        self._page = cache(ttl=remaining, key=PAGE)(self._make)

    async def page(self, product_id: int) -> bytes:
        """Return the page of a product as JSON; `grpc.aio.AioRpcError` when a call failed."""
        kept: Kept = await self._page(product_id=product_id)
        return kept.body

    async def _make(self, product_id: int) -> Kept:
        product, reviews = await self._product_and_reviews(product_id=product_id)
        read_at = time.monotonic()
        product_ids = [product_id, *(related["id"] for related in product["related"])]
        priced, stock = await asyncio.gather(self._backends.prices(product_ids), self._backends.levels(product_ids))
        return Kept(to_json(assembled(product, reviews, priced, stock)), read_at)

    async def _load(self, product_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
        return await asyncio.gather(self._load_product(product_id), self._load_reviews(product_id))

    async def _load_product(self, product_id: int) -> dict[str, Any]:
        found = await self._backends.product(product_id)
        return {
            "id": found.id,
            "name": found.name,
            "description": found.description,
            "category": found.category,
            "brand": found.brand,
            "colour": found.colour,
            "related": [{"id": related.id, "name": related.name} for related in found.related],
        }

    async def _load_reviews(self, product_id: int) -> dict[str, Any]:
        reply = await self._backends.reviews(product_id)
        return {
            "count": reply.count,
            "average": reply.average if reply.HasField("average") else None,
            "category_average": reply.category_average if reply.HasField("category_average") else None,
            "recent": [
                {
                    "rating": review.rating,
                    "title": review.title,
                    "body": review.body,
                    "author": review.author,
                    "created": review.created,
                }
                for review in reply.recent
            ],
        }


def assembled(
    product: dict[str, Any], reviews: dict[str, Any], priced: GetPricesReply, stock: GetLevelsReply
) -> ProductPage:
    """Put the page together: plain values, which pydantic looks at in one go."""
    prices = {price.product_id: price for price in priced.prices}
    levels = {level.product_id: level for level in stock.levels}
    price, level = prices[product["id"]], levels[product["id"]]
    related = [
        {
            **other,
            "amount_cents": prices[other["id"]].amount_cents,
            "currency": prices[other["id"]].currency,
            "converted": converted(prices[other["id"]].amount_cents, priced.rates),
            "available": levels[other["id"]].available,
        }
        for other in product["related"]
    ]
    shown_price = {
        "list_cents": price.list_cents,
        "amount_cents": price.amount_cents,
        "currency": price.currency,
        "converted": converted(price.amount_cents, priced.rates),
    }
    shown_stock = {"available": level.available, "warehouse": level.warehouse}
    page = {**product, "price": shown_price, "stock": shown_stock, "reviews": reviews, "related": related}
    return ProductPage.model_validate(page)


def converted(cents: int, rates: Iterable[ExchangeRate]) -> dict[str, int]:
    """Convert an amount into every currency of the rates."""
    return {rate.currency: round(cents * rate.per_euro) for rate in rates}

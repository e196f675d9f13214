"""What a product's page is made of, from the cache where that is allowed; `freshness` says where, and why."""

import asyncio
from typing import NamedTuple

from examples.shop.fast.backends import Backends
from examples.shop.fast.message_codec import MessageCodec
from examples.shop.proto.catalog_pb2 import Product
from examples.shop.proto.pricing_pb2 import GetPricesReply
from examples.shop.proto.reviews_pb2 import GetReviewsReply
from examples.shop.proto.stock_pb2 import GetLevelsReply
from hasten.cache import Cache


class Offers(NamedTuple):
    """What some products cost, and how many there are: what orders change."""

    priced: GetPricesReply
    stock: GetLevelsReply


class PageParts:
    """Asks the services for what they were not asked just before; nobody may change the replies.

    An order asks `Backends` itself: what a customer pays comes from no cache.
    """

    def __init__(self, backends: Backends, cache: Cache) -> None:
        @cache.cached(ttl=60.0, stale=600.0, name="product", codec=MessageCodec(Product))
        async def product(product_id: int) -> Product:
            return await backends.product(product_id)

        @cache.cached(ttl=60.0, stale=600.0, name="reviews", codec=MessageCodec(GetReviewsReply))
        async def reviews(product_id: int) -> GetReviewsReply:
            return await backends.reviews(product_id)

        self.product, self.reviews = product, reviews
        self._backends = backends

    async def offers(self, product_ids: tuple[int, ...]) -> Offers:
        """Return prices and stock of several products as they are now."""
        async with asyncio.TaskGroup() as calls:
            priced = calls.create_task(self._backends.prices(product_ids))
            stock = calls.create_task(self._backends.levels(product_ids))
        return Offers(priced.result(), stock.result())

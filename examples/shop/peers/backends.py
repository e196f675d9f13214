"""The storefront's gRPC calls: one grpc.aio channel to each service for the life of the process, a timeout on each."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from examples.shop.peers.settings import Settings
from examples.shop.proto.catalog_pb2 import FoundProduct, GetProductRequest, Product, SearchRequest
from examples.shop.proto.catalog_pb2_grpc import CatalogStub
from examples.shop.proto.pricing_pb2 import GetPricesReply, GetPricesRequest
from examples.shop.proto.pricing_pb2_grpc import PricingStub
from examples.shop.proto.reviews_pb2 import GetReviewsReply, GetReviewsRequest
from examples.shop.proto.reviews_pb2_grpc import ReviewsStub
from examples.shop.proto.stock_pb2 import ChangeLevelRequest, GetLevelsReply, GetLevelsRequest, Level
from examples.shop.proto.stock_pb2_grpc import StockStub

OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),  # a host that has gone is seen in 25 s, and not by a customer
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),  # the default of 120 s is for the clients of somebody else's service
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a call may take: some times what it takes on a bad day, and less than anybody would wait.

    Attributes:
      warm_up: Until all services are connected, when the process starts.
    """

    read: float = 2.0
    search: float = 5.0
    write: float = 5.0
    warm_up: float = 30.0


class Backends:
    """The other services, as the storefront needs them; every method raises `grpc.aio.AioRpcError`."""

    def __init__(
        self,
        catalog: grpc.aio.Channel,
        pricing: grpc.aio.Channel,
        stock: grpc.aio.Channel,
        reviews: grpc.aio.Channel,
        timeouts: Timeouts,
    ) -> None:
        self._catalog = CatalogStub(catalog)
        self._pricing = PricingStub(pricing)
        self._stock = StockStub(stock)
        self._reviews = ReviewsStub(reviews)
        self._timeouts = timeouts

    async def product(self, product_id: int) -> Product:
        """Ask the catalog for a product; NOT_FOUND for an unknown one."""
        return await self._catalog.GetProduct(GetProductRequest(product_id=product_id), timeout=self._timeouts.read)

    async def search(self, words: str) -> Sequence[FoundProduct]:
        """Ask the catalog for products that match."""
        reply = await self._catalog.Search(SearchRequest(words=words), timeout=self._timeouts.search)
        return reply.products

    async def prices(self, product_ids: Iterable[int]) -> GetPricesReply:
        """Ask for the prices of several products, and for the exchange rates, in one call."""
        return await self._pricing.GetPrices(GetPricesRequest(product_ids=product_ids), timeout=self._timeouts.read)

    async def levels(self, product_ids: Iterable[int]) -> GetLevelsReply:
        """Ask for the stock of several products in one call."""
        return await self._stock.GetLevels(GetLevelsRequest(product_ids=product_ids), timeout=self._timeouts.read)

    async def change_level(self, product_id: int, change: int) -> Level:
        """Take pieces out (negative) or put them back; FAILED_PRECONDITION when not enough are there."""
        request = ChangeLevelRequest(product_id=product_id, change=change)
        return await self._stock.ChangeLevel(request, timeout=self._timeouts.write)

    async def reviews(self, product_id: int) -> GetReviewsReply:
        """Ask what customers think of a product."""
        return await self._reviews.GetReviews(GetReviewsRequest(product_id=product_id), timeout=self._timeouts.read)


@asynccontextmanager
async def open_backends(settings: Settings, timeouts: Timeouts) -> AsyncIterator[Backends]:
    """Connect to every service, so that no request has to, and close the channels at the end.

    Raises:
      TimeoutError: a service could not be reached within `timeouts.warm_up`; the message says which.
    """
    targets = {
        "catalog": settings.catalog,
        "pricing": settings.pricing,
        "stock": settings.stock,
        "reviews": settings.reviews,
    }
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(target, options=OPTIONS))
            for name, target in targets.items()
        }
        await asyncio.gather(*(connected(name, channel, timeouts.warm_up) for name, channel in channels.items()))
        yield Backends(**channels, timeouts=timeouts)


async def connected(name: str, channel: grpc.aio.Channel, timeout: float) -> None:  # noqa: ASYNC109
    """Wait until a channel is connected; TimeoutError says which is not."""
    try:
        async with asyncio.timeout(timeout):
            await channel.channel_ready()
    except TimeoutError:
        raise TimeoutError(f"{name} could not be reached within {timeout:g} s") from None

"""storefront: the public API. It owns the orders and asks the other services for the rest.

Bodies come from the cache as they are sent: `response_model` is for the OpenAPI document alone, where a `Response` is
returned.
"""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_fastapi_instrumentator import Instrumentator, metrics

from examples.shop.fast.database import open_database
from examples.shop.fast.failures import answer_failures, documented
from examples.shop.fast.models import LARGEST_ID, DailyReport, NewOrder, Order, ProductPage, SearchResults
from examples.shop.fast.response_time import ResponseTime
from examples.shop.peers.backends import Backends, Timeouts, open_backends
from examples.shop.peers.deliveries import open_deliveries
from examples.shop.peers.freshness import open_cache
from examples.shop.peers.listings import Listings
from examples.shop.peers.orders import Orders
from examples.shop.peers.outbox import Outbox
from examples.shop.peers.partners import open_partners
from examples.shop.peers.product_page import ProductPages
from examples.shop.peers.settings import Settings

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Shop:
    """What the routes work with, opened once."""

    pages: ProductPages
    listings: Listings
    orders: Orders


router = APIRouter()


def shop_of(request: Request) -> Shop:
    """Return what was opened; called by the routes, as a dependency costs more than most of them do."""
    shop: Shop = request.app.state.shop
    return shop


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


@router.get("/products/{product_id}", response_model=ProductPage, responses=documented(404, 503, 504))
async def product(product_id: Annotated[int, Path(ge=-LARGEST_ID, le=LARGEST_ID)], request: Request) -> Response:
    """Return everything that a product's page shows."""
    return Response(await shop_of(request).pages.page(product_id), media_type=JSON)


@router.get("/search", response_model=SearchResults, responses=documented(503, 504))
async def search(q: Annotated[str, Query(min_length=2, max_length=80)], request: Request) -> Response:
    """Return the products that match, at most 100."""
    return Response(await shop_of(request).listings.search(q), media_type=JSON)


@router.get("/reports/daily", response_model=DailyReport)
async def daily_report(request: Request) -> Response:
    """Return the totals of the last 35 days that had orders."""
    return Response(await shop_of(request).listings.daily_report(), media_type=JSON)


@router.post("/orders", status_code=201, responses=documented(402, 404, 409, 503, 504))
async def place_order(order: NewOrder, request: Request) -> Order:
    """Take the pieces and the money, and write the order; its mail follows."""
    return await shop_of(request).orders.place(order)


def storefront(settings: Settings, timeouts: Timeouts = Timeouts()) -> FastAPI:  # noqa: B008 - frozen
    """Return the app; it connects when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """Connect before the first request; the server finishes the last one before this closes what it needs."""
        async with opened(settings, timeouts) as app.state.shop:
            gc.collect()  # else the collector goes through all that was made until now, within somebody's request
            gc.freeze()
            yield

    app = FastAPI(title="storefront", lifespan=lifespan)
    app.include_router(router)
    answer_failures(app)
    app.add_middleware(ResponseTime)
    add_metrics(app)
    return app


@asynccontextmanager
async def opened(settings: Settings, timeouts: Timeouts) -> AsyncIterator[Shop]:
    """Open what the routes work with."""
    cache = open_cache(settings)
    async with AsyncExitStack() as stack:
        backends: Backends = await stack.enter_async_context(open_backends(settings, timeouts))
        database = await stack.enter_async_context(open_database(settings.database))
        partners = await stack.enter_async_context(open_partners(settings))
        await cache.init()
        stack.push_async_callback(cache.close)
        deliver = await stack.enter_async_context(open_deliveries(settings, database, partners))
        outbox = Outbox(database, deliver)
        await stack.enter_async_context(outbox.running())
        orders = Orders(backends, partners, database, cache, outbox)
        yield Shop(ProductPages(backends, cache), Listings(backends, database, cache), orders)


def add_metrics(app: FastAPI) -> None:
    """Count and time requests by route and status, at `/metrics`: one histogram, where the default has four metrics."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    instrumentator = Instrumentator(registry=registry, excluded_handlers=["/metrics"])
    if timed := metrics.latency(registry=registry):
        instrumentator.add(timed)
    instrumentator.instrument(app).expose(app, include_in_schema=False)


app = storefront(Settings.from_environment(os.environ))

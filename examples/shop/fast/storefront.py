"""storefront: the public API. It owns the orders and asks the other services for the rest."""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response

import hasten
from examples.shop.fast import orders, product_page, reports
from examples.shop.fast.backends import Backends, Timeouts, open_backends
from examples.shop.fast.database import Database, open_database
from examples.shop.fast.deliveries import Deliveries
from examples.shop.fast.failures import answer_failures, documented
from examples.shop.fast.freshness import SHOWS, open_cache, page_rules, product_tags, rules
from examples.shop.fast.models import (
    LARGEST_ID,
    DailyReport,
    NewOrder,
    Order,
    ProductPage,
    ProductSummary,
    SearchResults,
)
from examples.shop.fast.page_parts import PageParts
from examples.shop.fast.partners import Partners
from examples.shop.fast.response_time import ResponseTime
from examples.shop.fast.settings import SLO, Settings
from hasten.cache import Cache
from hasten.http import Edge, EdgeRule, ResponseCache
from hasten.resilience import Limiter, Priority

EDGE_RULES = (
    EdgeRule("/orders", methods=("POST",), priority=Priority.HIGH, finishes=True),  # paid for, though nobody waits
    EdgeRule("/reports/daily", priority=Priority.LOW),
)


@dataclass(frozen=True, slots=True)
class Clients:
    """What the storefront works with, opened once."""

    backends: Backends
    partners: Partners
    database: Database
    cache: Cache
    page_parts: PageParts
    deliveries: Deliveries


router = APIRouter()


async def opened(request: Request) -> Clients:
    """Hand what was opened to an endpoint."""
    clients: Clients = request.app.state.clients
    return clients


Opened = Annotated[Clients, Depends(opened)]


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


@router.get("/products/{product_id}", responses=documented(404, 503, 504))
async def product(
    product_id: Annotated[int, Path(ge=-LARGEST_ID, le=LARGEST_ID)], clients: Opened, response: Response
) -> ProductPage:
    """Return everything that a product's page shows."""
    page = await product_page.product_page(clients.page_parts, product_id)
    if clients.cache.has_backplane:  # else nobody keeps the page, nor takes the field away
        response.headers[SHOWS] = ",".join(product_tags([page.id, *(related.id for related in page.related)]))
    return page


@router.get("/search", responses=documented(503, 504))
async def search(q: Annotated[str, Query(min_length=2, max_length=80)], clients: Opened) -> SearchResults:
    """Return the products that match, at most 100."""
    found = await clients.backends.search(q)
    products = [ProductSummary.model_validate(product, from_attributes=True) for product in found]
    return SearchResults(query=q, products=products)


@router.get("/reports/daily")
async def daily_report(clients: Opened) -> DailyReport:
    """Return the totals of the last 35 days that had orders."""
    return await clients.database.read(reports.load_daily_report)


@router.post("/orders", status_code=201, responses=documented(402, 404, 409, 503, 504))
async def place_order(order: NewOrder, clients: Opened) -> Order:
    """Take the pieces and the money, and write the order; its mail follows."""
    return await orders.place_order(
        clients.backends, clients.partners, clients.database, clients.cache, clients.deliveries, order
    )


def storefront(settings: Settings, timeouts: Timeouts = Timeouts()) -> FastAPI:  # noqa: B008 - frozen
    """Return the app; it connects when it starts."""
    cache, deliveries, partners = open_cache(settings), Deliveries(settings), Partners(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """Connect before the first request; the server finishes the last one before this closes what it needs."""
        async with AsyncExitStack() as stack:
            backends = await stack.enter_async_context(open_backends(settings, timeouts, app.state.monitor))
            database = await stack.enter_async_context(open_database(settings.database))
            await database.write(deliveries.create_tables)
            await stack.enter_async_context(aclosing(cache))
            await stack.enter_async_context(partners.opened())
            app.state.clients = Clients(backends, partners, database, cache, PageParts(backends, cache), deliveries)
            gc.collect()  # else the collector goes through all that was made until now, within somebody's request
            gc.freeze()
            yield

    app = FastAPI(title="storefront", lifespan=lifespan)
    app.include_router(router)
    answer_failures(app)
    app.add_middleware(ResponseCache, cache=cache, rules=rules(cache))
    app.add_middleware(ResponseCache, cache=cache, rules=page_rules(cache), shared=False, name="pages")
    app.add_middleware(ResponseTime)  # outside of the caches: each answer has a time of its own
    app.add_middleware(Edge, limiter=Limiter(initial=100, least=20), timeout=10.0, rules=EDGE_RULES)
    return hasten.install(
        app,
        service="storefront",
        bus=deliveries,
        watch=(cache, deliveries.bus, deliveries.relay, partners.payments, partners.mail),  # without a broker, too
        slo=SLO,
        admin=settings.admin,
        admin_token=settings.admin_token,
    )


app = storefront(Settings.from_environment(os.environ))

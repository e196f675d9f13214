"""storefront: the public API. It owns the orders and asks the other services for the rest."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request

from examples.shop.fast import orders, product_page, reports
from examples.shop.fast.backends import Backends, Timeouts, open_backends
from examples.shop.fast.database import Database, open_database
from examples.shop.fast.failures import answer_failures, documented
from examples.shop.fast.models import (
    LARGEST_ID,
    DailyReport,
    NewOrder,
    Order,
    ProductPage,
    ProductSummary,
    SearchResults,
)
from examples.shop.fast.partners import Partners, open_partners
from examples.shop.fast.response_time import ResponseTime
from examples.shop.fast.settings import Settings


@dataclass(frozen=True, slots=True)
class Clients:
    """What the storefront works with, opened once."""

    backends: Backends
    partners: Partners
    database: Database


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect before the first request; the server finishes the last one before this closes what it needs."""
    settings = Settings.from_environment(os.environ)
    async with AsyncExitStack() as stack:
        app.state.clients = Clients(
            await stack.enter_async_context(open_backends(settings, Timeouts())),
            await stack.enter_async_context(open_partners(settings)),
            await stack.enter_async_context(open_database(settings.database)),
        )
        yield


app = FastAPI(title="storefront", lifespan=lifespan)
app.add_middleware(ResponseTime)
answer_failures(app)


async def opened(request: Request) -> Clients:
    """Hand what was opened to an endpoint."""
    clients: Clients = request.app.state.clients
    return clients


Opened = Annotated[Clients, Depends(opened)]


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


@app.get("/products/{product_id}", responses=documented(404, 503, 504))
async def product(product_id: Annotated[int, Path(ge=-LARGEST_ID, le=LARGEST_ID)], clients: Opened) -> ProductPage:
    """Return everything that a product's page shows."""
    return await product_page.product_page(clients.backends, product_id)


@app.get("/search", responses=documented(503, 504))
async def search(q: Annotated[str, Query(min_length=2, max_length=80)], clients: Opened) -> SearchResults:
    """Return the products that match, at most 100."""
    found = await clients.backends.search(q)
    products = [ProductSummary.model_validate(product, from_attributes=True) for product in found]
    return SearchResults(query=q, products=products)


@app.get("/reports/daily")
async def daily_report(clients: Opened) -> DailyReport:
    """Return the totals of the last 35 days that had orders."""
    return await clients.database.read(reports.load_daily_report)


@app.post("/orders", status_code=201, responses=documented(402, 404, 409, 503, 504))
async def place_order(order: NewOrder, clients: Opened) -> Order:
    """Take the pieces and the money, write the order, confirm it by mail."""
    return await orders.place_order(clients.backends, clients.partners, clients.database, order)

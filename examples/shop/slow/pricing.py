"""pricing: what a product costs today. The price list is read once, campaigns may change at any time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException

from examples.shop.slow.database import database
from examples.shop.slow.models import Price, Rates

BASE_CURRENCY = "EUR"
PRICES = """
SELECT products.id, category_id, list_cents, sale_cents, currency
FROM prices JOIN products ON products.id = prices.product_id
"""


def load_prices() -> tuple[dict[int, Any], dict[str, float]]:
    """Read the price list by product, and the rates by currency."""
    connection = database.connection()
    prices = {row["id"]: tuple(row)[1:] for row in connection.execute(PRICES)}
    return prices, dict(connection.execute("SELECT currency, per_euro FROM rates").fetchall())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Read the price list and the rates before the first request."""
    app.state.prices, app.state.rates = await asyncio.to_thread(load_prices)
    yield


app = FastAPI(title="pricing", lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


def campaigns() -> dict[int, int]:  # fault: sync-dependency
    """Read today's campaigns: percent off by category."""
    rows = database.connection().execute("SELECT category_id, percent FROM campaigns").fetchall()
    return {row["category_id"]: row["percent"] for row in rows}


Campaigns = Annotated[dict[int, int], Depends(campaigns)]


@app.get("/prices/{product_id}", response_model=Price)
async def price(product_id: int, percent_off: Campaigns) -> dict[str, Any]:
    """Return the price of one product."""
    if product_id not in app.state.prices:
        raise HTTPException(404, "no price for this product")
    category, list_cents, sale_cents, currency = app.state.prices[product_id]
    before = list_cents if sale_cents is None else sale_cents
    amount = before * (100 - percent_off.get(category, 0)) // 100
    return {
        "product_id": product_id,
        "list_cents": list_cents,
        "amount_cents": amount,
        "currency": currency,
    }


@app.get("/rates", response_model=Rates)
async def rates(base: str = BASE_CURRENCY) -> dict[str, Any]:
    """Return today's exchange rates."""
    if base != BASE_CURRENCY:
        raise HTTPException(404, f"rates are kept for {BASE_CURRENCY} alone")
    return {"base": base, "rates": app.state.rates}

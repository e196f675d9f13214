"""storefront: the public API. It owns the orders and asks the other services for the rest."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import httpx
import requests
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response

from examples.shop.slow.database import database
from examples.shop.slow.models import DailyReport, NewOrder, Order, ProductPage, SearchResults
from examples.shop.slow.settings import settings

REPORT_DAYS = 35
RECENT_ORDERS = """
SELECT day, quantity, total_cents FROM orders
WHERE day >= (SELECT min(day) FROM (SELECT DISTINCT day FROM orders ORDER BY day DESC LIMIT ?))
"""
NEW_ORDER = """
INSERT INTO orders (product_id, quantity, total_cents, payment_reference, day, created)
VALUES (?, ?, ?, ?, ?, ?)
"""

logger = logging.getLogger("shop.storefront")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one HTTP client for all requests."""
    async with httpx.AsyncClient(timeout=None) as client:  # fault: no-timeout (services)
        app.state.http = client
        yield


app = FastAPI(title="storefront", lifespan=lifespan)


async def http_client(request: Request) -> httpx.AsyncClient:
    """Hand the shared client to an endpoint."""
    client: httpx.AsyncClient = request.app.state.http
    return client


Http = Annotated[httpx.AsyncClient, Depends(http_client)]


@app.middleware("http")  # fault: base-http-middleware
async def report_duration(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Tell the caller how long the answer took, in milliseconds."""
    started = time.perf_counter()
    response = await call_next(request)
    response.headers["x-response-time-ms"] = f"{(time.perf_counter() - started) * 1000:.1f}"
    return response


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


async def catalog_product(http: httpx.AsyncClient, product_id: int) -> dict[str, Any]:
    """Ask the catalog for a product; 404 for an unknown one."""
    response = await http.get(f"{settings.catalog}/products/{product_id}")  # fault: httpx (product)
    if response.status_code == httpx.codes.NOT_FOUND:
        raise HTTPException(404, "no such product")
    found: dict[str, Any] = response.raise_for_status().json()
    return found


async def product_details(http: httpx.AsyncClient, product_id: int) -> tuple[Any, Any, Any]:
    """Ask for the price, the stock and the reviews of a product."""
    price = await http.get(f"{settings.pricing}/prices/{product_id}")
    stock = await http.get(f"{settings.stock}/levels/{product_id}")  # fault: sequential-awaits, httpx
    reviews = await http.get(f"{settings.reviews}/products/{product_id}/reviews")
    return tuple(answer.raise_for_status().json() for answer in (price, stock, reviews))


async def exchange_rates(http: httpx.AsyncClient, base: str) -> dict[str, float]:
    """Ask for today's rates of a currency."""
    answer = await http.get(f"{settings.pricing}/rates", params={"base": base})  # fault: repeated-call, httpx
    rates: dict[str, float] = answer.raise_for_status().json()["rates"]
    return rates


def convert(cents: int, rates: dict[str, float]) -> dict[str, int]:
    """Convert an amount into every currency of the rates."""
    return {currency: round(cents * rate) for currency, rate in rates.items()}


async def related_products(
    http: httpx.AsyncClient, related: list[dict[str, Any]], rates: dict[str, float]
) -> list[dict[str, Any]]:
    """Add price and stock to the products that go with one."""
    wanted = {"product_id": [item["id"] for item in related]}
    answer = await http.get(f"{settings.stock}/levels", params=wanted)  # fault: httpx (related)
    levels = answer.raise_for_status().json()["levels"]
    for item in related:
        answer = await http.get(f"{settings.pricing}/prices/{item['id']}")  # fault: n-plus-one
        price = answer.raise_for_status().json()
        converted = convert(price["amount_cents"], rates)
        item.update(price, converted=converted, available=levels[str(item["id"])])
    return related


@app.get("/products/{product_id}", response_model=ProductPage)
async def product_page(product_id: int, http: Http) -> dict[str, Any]:
    """Return everything that a product's page shows."""
    product = await catalog_product(http, product_id)
    price, stock, reviews = await product_details(http, product["id"])
    rates = await exchange_rates(http, price["currency"])
    related = await related_products(http, product["related"], rates)
    price["converted"] = convert(price["amount_cents"], rates)
    return {**product, "price": price, "stock": stock, "reviews": reviews, "related": related}


@app.get("/search", responses={200: {"model": SearchResults}})
async def search(q: Annotated[str, Query(min_length=2, max_length=80)]) -> Response:
    """Return the products that match, as the catalog answers it."""
    async with httpx.AsyncClient(timeout=10.0) as client:  # fault: client-per-request
        answer = await client.get(f"{settings.catalog}/search", params={"q": q})  # fault: httpx (search)
    answer.raise_for_status()
    return Response(answer.content, media_type="application/json")


def load_recent_orders() -> list[tuple[str, int, int]]:
    """Read day, pieces and total of every order that the report covers."""
    cursor = database.connection().cursor()
    cursor.row_factory = None
    return cursor.execute(RECENT_ORDERS, (REPORT_DAYS,)).fetchall()


@app.get("/reports/daily", response_model=DailyReport)
async def daily_report() -> dict[str, Any]:
    """Return the totals of the last 35 days that had orders."""
    orders = await asyncio.to_thread(load_recent_orders)
    days = []
    for day in sorted({day for day, _, _ in orders}):
        revenue = pieces = largest = count = 0
        for order_day, quantity, cents in orders:  # fault: cpu-loop
            if order_day == day:
                count += 1
                pieces += quantity
                revenue += cents
                largest = max(largest, cents)
        days.append(
            {
                "day": day,
                "orders": count,
                "pieces": pieces,
                "revenue_cents": revenue,
                "largest_order_cents": largest,
            }
        )
    return {"days": days, "orders": len(orders), "revenue_cents": sum(day["revenue_cents"] for day in days)}


async def current_price(http: httpx.AsyncClient, product_id: int) -> dict[str, Any]:
    """Ask what a product costs; 404 for an unknown one."""
    response = await http.get(f"{settings.pricing}/prices/{product_id}")  # fault: httpx (price)
    if response.status_code == httpx.codes.NOT_FOUND:
        raise HTTPException(404, "no such product")
    price: dict[str, Any] = response.raise_for_status().json()
    return price


async def change_stock(http: httpx.AsyncClient, product_id: int, change: int) -> dict[str, Any]:
    """Take pieces out (negative) or put them back; 409 when not enough are there."""
    url = f"{settings.stock}/levels/{product_id}/changes"
    response = await http.post(url, json={"change": change})  # fault: httpx (stock)
    if response.status_code == httpx.codes.CONFLICT:
        raise HTTPException(409, "not enough pieces in stock")
    level: dict[str, Any] = response.raise_for_status().json()
    return level


async def charge(amount_cents: int, currency: str, purpose: str) -> str | None:
    """Take the money; return the payment's reference, None when it was declined."""
    wanted = {"amount_cents": amount_cents, "currency": currency, "purpose": purpose}
    url = f"{settings.payments}/charges"
    response = requests.post(url, json=wanted)  # fault: blocking-client, no-timeout
    response.raise_for_status()
    answer = response.json()
    return answer["reference"] if answer["status"] == "paid" else None


def save_order(order: NewOrder, total_cents: int, reference: str) -> int:
    """Write a paid order and return its number."""
    now = datetime.now()
    row = (order.product_id, order.quantity, total_cents, reference, now.date().isoformat(), now.isoformat())
    connection = database.connection()
    with connection:
        number = connection.execute(NEW_ORDER, row).lastrowid
    assert number is not None
    return number


async def send_confirmation(http: httpx.AsyncClient, order_id: int, recipient: str) -> None:
    """Tell the customer that the order was taken; the order stands when the mail cannot be sent."""
    message = {"recipient": recipient, "subject": f"Your order {order_id}"}
    try:
        answer = await http.post(f"{settings.mail}/messages", json=message)  # fault: httpx (mail)
        answer.raise_for_status()
    except httpx.HTTPError:
        logger.exception("no confirmation for order %d", order_id)


@app.post("/orders", status_code=201, response_model=Order)
async def place_order(order: NewOrder, http: Http) -> dict[str, Any]:
    """Take the pieces and the money, write the order, confirm it by mail."""
    price = await current_price(http, order.product_id)
    total_cents = price["amount_cents"] * order.quantity
    level = await change_stock(http, price["product_id"], -order.quantity)
    reference = await charge(total_cents, price["currency"], f"Your order from {level['warehouse']}")
    if reference is None:
        await change_stock(http, order.product_id, order.quantity)
        raise HTTPException(402, "the payment was declined")
    order_id = await asyncio.to_thread(save_order, order, total_cents, reference)
    await send_confirmation(http, order_id, order.email)
    return {
        "order_id": order_id,
        "product_id": order.product_id,
        "quantity": order.quantity,
        "total_cents": total_cents,
        "currency": price["currency"],
        "payment_reference": reference,
    }

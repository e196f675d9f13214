"""What the public of the fast edition is told when something behind it fails, and what is left behind."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from fastapi import FastAPI, Request

from examples.shop.fast.backends import Timeouts
from examples.shop.fast.failures import call_failed
from tests.shop.in_process import UNREACHABLE, fast_shop

PRODUCT = 4_711
ORDER = {"product_id": PRODUCT, "quantity": 2}
NOT_AVAILABLE = {"detail": "a part of the shop is not available"}


@pytest.fixture
def database(data_set: Path, tmp_path: Path) -> Path:
    """A data set that the test may change."""
    return Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))


def state(database: Path) -> tuple[int, int]:
    """The product's level, and the number of orders."""
    query = "SELECT available, (SELECT count(*) FROM orders) FROM stock WHERE product_id = ?"
    with closing(sqlite3.connect(database)) as connection:
        available, orders = connection.execute(query, (PRODUCT,)).fetchone()
    return available, orders


def test_dead_service(database: Path) -> None:
    """Without stock, pages and orders are answered with 503, the rest of the shop goes on, nothing is changed."""
    before = state(database)

    async def ask() -> None:
        async with fast_shop(database) as shop:
            await shop.stop("stock")
            for answer in (await shop.http.get(f"/products/{PRODUCT}"), await shop.http.post("/orders", json=ORDER)):
                assert (answer.status_code, answer.json()) == (503, NOT_AVAILABLE)
                assert float(answer.headers["x-response-time-ms"]) >= 0
            assert (await shop.http.get("/search?q=oak+lamp")).status_code == 200
            assert (await shop.http.get("/products/20001")).status_code == 404

    asyncio.run(ask())
    assert state(database) == before


def test_silent_service(data_set: Path) -> None:
    """A service that does not answer in time is 504."""

    async def hold(method: str) -> None:
        if method == "GetLevels":
            await asyncio.Event().wait()

    async def ask() -> None:
        async with fast_shop(data_set, timeouts=Timeouts(read=0.2)) as shop:
            shop.calls.before = hold
            answer = await shop.http.get(f"/products/{PRODUCT}")
            assert (answer.status_code, answer.json()) == (504, {"detail": "a part of the shop takes too long"})

    asyncio.run(ask())


def test_failed_call_cancels_the_others(data_set: Path) -> None:
    """When a page cannot be made any more, the service that still works for it is told to stop."""
    cancelled = asyncio.Event()

    async def hold(method: str) -> None:
        if method == "GetReviews":
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    async def ask() -> None:
        async with fast_shop(data_set, timeouts=Timeouts(read=30)) as shop:
            shop.calls.before = hold
            assert (await shop.http.get("/products/20001")).status_code == 404
            await cancelled.wait()

    asyncio.run(ask())


def test_no_payment(database: Path) -> None:
    """When payments cannot be reached the order is refused with 503, and the pieces are back in stock."""
    before = state(database)

    async def ask() -> None:
        async with fast_shop(database, payments=UNREACHABLE) as shop:
            answer = await shop.http.post("/orders", json=ORDER)
            assert (answer.status_code, answer.json()) == (503, {"detail": "the payment could not be made"})
            assert shop.calls.counts["ChangeLevel"] == 2

    asyncio.run(ask())
    assert state(database) == before


def test_no_mail(database: Path) -> None:
    """An order that was paid stands when its mail cannot be sent."""
    available, orders = state(database)

    async def ask() -> None:
        async with fast_shop(database, mail=UNREACHABLE) as shop:
            assert (await shop.http.post("/orders", json=ORDER)).status_code == 201

    asyncio.run(ask())
    assert state(database) == (available - 2, orders + 1)


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in groups"])
@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        (grpc.StatusCode.NOT_FOUND, 404, "of the service"),
        (grpc.StatusCode.FAILED_PRECONDITION, 409, "of the service"),
        (grpc.StatusCode.UNAVAILABLE, 503, "a part of the shop is not available"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 503, "the shop has too much to do"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "a part of the shop takes too long"),
    ],
)
def test_failed_call(code: grpc.StatusCode, status: int, detail: str, nested: bool) -> None:  # noqa: FBT001
    """A failed call has an answer by its code, and a text of the shop's unless the caller is to blame."""
    error: Exception = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="of the service")
    if nested:
        error = ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    answer = asyncio.run(call_failed(request(), error))
    assert answer.status_code == status
    assert json.loads(bytes(answer.body)) == {"detail": detail}


@pytest.mark.parametrize(
    "error",
    [
        grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata()),
        ExceptionGroup("calls", [KeyError("a bug")]),
    ],
    ids=["internal", "bug"],
)
def test_bug_is_not_hidden(error: Exception) -> None:
    """What is nobody's outage goes on up as it came, and becomes a 500 with a traceback in the log."""
    with pytest.raises(type(error)) as caught:
        asyncio.run(call_failed(request(), error))
    assert caught.value is error


def request() -> Request:
    """Any request."""
    return Request({"type": "http", "method": "GET", "path": "/", "headers": [], "app": FastAPI()})

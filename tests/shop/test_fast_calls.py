"""How the fast edition's storefront calls the others: few calls, together, over connections that stay."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from examples.shop.fast.backends import Timeouts, open_backends
from examples.shop.fast.database import Database
from examples.shop.fast.settings import Settings
from examples.shop.fast.stock import Stock
from examples.shop.proto.stock_pb2 import GetLevelsReply, GetLevelsRequest
from examples.shop.proto.stock_pb2_grpc import add_StockServicer_to_server
from tests.shop.in_process import SERVICES, UNREACHABLE, barrier, fast_shop

PRODUCT = 4_711
ORDER = {"product_id": PRODUCT, "quantity": 1}


@pytest.fixture
def database(data_set: Path, tmp_path: Path) -> Path:
    """A data set that the test may change."""
    return Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "calls"),
    [
        ("GET", f"/products/{PRODUCT}", None, 200, {"GetProduct": 1, "GetReviews": 1, "GetPrices": 1, "GetLevels": 1}),
        ("GET", "/products/20001", None, 404, {"GetProduct": 1, "GetReviews": 1}),
        ("GET", "/search?q=oak+lamp", None, 200, {"Search": 1}),
        ("GET", "/reports/daily", None, 200, {}),
        ("POST", "/orders", ORDER, 201, {"GetPrices": 1, "ChangeLevel": 1}),
    ],
    ids=["page", "unknown product", "search", "report", "order"],
)
def test_calls_per_request(
    data_set: Path, tmp_path: Path, method: str, path: str, body: Any, status: int, calls: dict[str, int]
) -> None:
    """A request makes a fixed number of calls, however many products it shows."""
    database = Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))

    async def ask() -> None:
        async with fast_shop(database) as shop:
            answer = await shop.http.request(method, path, json=body)
            assert answer.status_code == status
            assert shop.calls.counts == calls

    asyncio.run(ask())


def test_independent_calls_run_together(data_set: Path) -> None:
    """Product and reviews are under way at the same time, and so are prices and levels."""

    async def ask() -> None:
        async with fast_shop(data_set, timeouts=Timeouts(read=30)) as shop:
            shop.calls.before = barrier(("GetProduct", "GetReviews"), ("GetPrices", "GetLevels"))
            assert (await shop.http.get(f"/products/{PRODUCT}")).status_code == 200

    asyncio.run(ask())


def test_connections_stay(data_set: Path) -> None:
    """Every call to a service comes over one connection."""
    peers = []

    class Watched(Stock):
        async def GetLevels(  # noqa: N802
            self, request: GetLevelsRequest, context: grpc.aio.ServicerContext[GetLevelsRequest, GetLevelsReply]
        ) -> GetLevelsReply:
            peers.append(context.peer())
            return await super().GetLevels(request, context)

    async def add_watched(server: grpc.aio.Server, opened: Database) -> str:
        add_StockServicer_to_server(Watched(opened), server)
        return "shop.v1.Stock"

    async def ask() -> None:
        async with fast_shop(data_set, services={**SERVICES, "stock": add_watched}) as shop:
            for product in range(1, 6):
                assert (await shop.http.get(f"/products/{product}")).status_code == 200

    asyncio.run(ask())
    assert len(peers) == 5
    assert len(set(peers)) == 1


def test_not_ready_without_the_others(data_set: Path) -> None:
    """The storefront does not become ready while a service cannot be reached, and says which."""
    target = UNREACHABLE.replace("http://", "dns:///")
    settings = Settings(target, target, target, target, UNREACHABLE, UNREACHABLE, data_set)

    async def start() -> None:
        async with open_backends(settings, Timeouts(warm_up=0.05)):
            pytest.fail("became ready")

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(start())
    assert any("stock could not be reached within 0.05 s" in str(error) for error in caught.value.exceptions)

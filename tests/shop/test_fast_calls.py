"""How the fast edition's storefront calls the others: few calls, together, over connections that stay."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from examples.shop.fast import freshness
from examples.shop.fast.backends import Timeouts, open_backends
from examples.shop.fast.serving import Resources
from examples.shop.fast.settings import Settings
from examples.shop.fast.stock import Stock
from examples.shop.proto.stock_pb2 import GetLevelsReply, GetLevelsRequest
from examples.shop.proto.stock_pb2_grpc import add_StockServicer_to_server
from hasten.monitor import Monitor
from tests.cache.backplanes.servers import RedisServer
from tests.shop.in_process import SERVICES, UNREACHABLE, FastShop, barrier, fast_shop

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


PAGE = f"/products/{PRODUCT}"
COLD = Counter(GetProduct=1, GetReviews=1, GetPrices=1, GetLevels=1)
MOVING = Counter(GetPrices=1, GetLevels=1)
"""What orders change."""


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what orders change be kept for longer than the test takes."""
    monkeypatch.setattr(freshness, "CHANGING_TTL", 600.0)


@pytest.mark.usefixtures("no_hurry")
def test_warm_page(database: Path, redis: RedisServer) -> None:
    """With Redis a page that was made before makes no call, and after an order those for what has changed."""

    async def ask() -> None:
        async with fast_shop(database, redis=redis.url) as shop:
            assert await calls_of(shop, "GET", PAGE) == COLD
            assert await calls_of(shop, "GET", PAGE) == Counter()
            assert await calls_of(shop, "POST", "/orders", ORDER) == Counter(GetPrices=1, ChangeLevel=1)
            assert await calls_of(shop, "GET", PAGE) == MOVING
            assert await calls_of(shop, "GET", PAGE) == Counter()

    asyncio.run(ask())


def test_warm_page_without_redis(data_set: Path) -> None:
    """In memory alone a page that was made before still asks for what orders change."""

    async def ask() -> None:
        async with fast_shop(data_set) as shop:
            assert await calls_of(shop, "GET", PAGE) == COLD
            assert await calls_of(shop, "GET", PAGE) == MOVING

    asyncio.run(ask())


@pytest.mark.usefixtures("no_hurry")
def test_many_ask_for_a_cold_page(data_set: Path, redis: RedisServer) -> None:
    """With Redis they cause the calls of one."""

    async def ask() -> None:
        async with fast_shop(data_set, redis=redis.url) as shop:
            answers = await asyncio.gather(*(shop.http.get(PAGE) for _ in range(20)))
            assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
            assert shop.calls.counts == COLD

    asyncio.run(ask())


def test_warm_search(data_set: Path) -> None:
    """A search that was answered before makes no call, whatever else stands in its query."""

    async def ask() -> None:
        async with fast_shop(data_set) as shop:
            assert await calls_of(shop, "GET", "/search?q=oak+lamp") == Counter(Search=1)
            assert await calls_of(shop, "GET", "/search?utm_source=mail&q=oak%20lamp") == Counter()

    asyncio.run(ask())


async def calls_of(shop: FastShop, method: str, path: str, body: Any = None) -> Counter[str]:
    """Ask, and return the calls that it took."""
    before = shop.calls.counts.copy()
    answer = await shop.http.request(method, path, json=body)
    assert answer.is_success
    return shop.calls.counts - before


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

    async def add_watched(server: grpc.aio.Server, resources: Resources) -> str:
        add_StockServicer_to_server(Watched(resources.database, resources.cache), server)
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
        async with open_backends(settings, Timeouts(warm_up=0.05), Monitor("storefront")):
            pytest.fail("became ready")

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(start())
    assert any("stock could not be reached within 0.05 s" in str(error) for error in caught.value.exceptions)

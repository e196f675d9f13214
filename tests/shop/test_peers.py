"""What the peers' edition keeps, for how long, and what follows from its orders."""

import asyncio
import gc
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from examples.shop.launcher import EDITIONS, ROOT
from examples.shop.peers import catalog, freshness, outbox, pricing, reviews, stock
from examples.shop.peers.consumers import application
from examples.shop.peers.freshness import Kept, remaining
from examples.shop.peers.outbox import Outbox
from examples.shop.peers.serving import serving
from examples.shop.peers.settings import Settings
from examples.shop.peers.storefront import storefront
from hasten.events.brokers._amqp_topology import YOUNG_SECONDS
from servers import RABBITMQ
from tests.cache.backplanes.servers import RedisServer
from tests.events.brokers.adapter import eventually
from tests.own_servers import own_server
from tests.shop.in_process import Calls, partner, rows
from tests.shop.market import new_orders
from tests.shop.running import Shop

FOLDER = ROOT / "examples" / "shop" / "peers"
SERVICES = {"catalog": catalog, "pricing": pricing, "stock": stock, "reviews": reviews}
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")  # by cashews
PRODUCT = 4_711
PAGE = f"/products/{PRODUCT}"
SEARCH = "/search?q=oak+lamp"
REPORT = "/reports/daily"
PLACED = "SELECT product_id, count(*), sum(quantity), sum(total_cents) FROM orders WHERE id > 31500 GROUP BY product_id"
COUNTED = "SELECT product_id, sum(orders), sum(pieces), sum(revenue_cents) FROM sales GROUP BY product_id"
WAITING = "SELECT order_id FROM peers_outbox"


@dataclass(slots=True)
class PartnersBeside:
    """Payments that are always paid, and mail that is answered with `statuses`, one after the other, and then sent."""

    statuses: list[int] = field(default_factory=list)
    subjects: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)

    async def charge(self, _: web.Request) -> web.Response:
        """Take the money."""
        return web.json_response({"status": "paid", "reference": "pay-1"})

    async def send(self, request: web.Request) -> web.Response:
        """Note a mail."""
        subject = (await request.json())["subject"]
        self.subjects[subject] += 1
        status = self.statuses.pop(0) if self.statuses else 202
        if status == 202:
            self.sent[subject] += 1
        return web.json_response({}, status=status)


@dataclass(frozen=True, slots=True)
class PeersShop:
    """The services behind a storefront, and storefronts that can be opened one after the other, or beside each other.

    Attributes:
      calls: What the services were asked for.
    """

    settings: Settings
    partners: PartnersBeside
    calls: Calls

    @asynccontextmanager
    async def storefront(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give the block what asks a storefront."""
        app = storefront(self.settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http,
        ):
            yield http


@asynccontextmanager
async def peers_shop(
    database: Path, *, redis: str = "", broker: str = "", consumers: bool = True, statuses: Sequence[int] = ()
) -> AsyncIterator[PeersShop]:
    """Run the services, and the consumers if there is a broker, unless it is to have none."""
    environment = {"SHOP_DATABASE": str(database), "SHOP_REDIS_URL": redis, "SHOP_BROKER_URL": broker}
    settings = Settings.from_environment({**environment, "SHOP_TOPIC": f"orders.{uuid4().hex[:12]}"})
    calls, partners = Calls(), PartnersBeside(list(statuses))
    async with AsyncExitStack() as stack:
        at = await stack.enter_async_context(partner({"/charges": partners.charge, "/messages": partners.send}))
        targets = {}
        for name, service in SERVICES.items():
            port = await stack.enter_async_context(serving(service.add_service, "127.0.0.1:0", settings, [calls]))
            targets[name] = f"dns:///127.0.0.1:{port}"
        settings = replace(
            settings,
            catalog=targets["catalog"],
            pricing=targets["pricing"],
            stock=targets["stock"],
            reviews=targets["reviews"],
            payments=at,
            mail=at,
        )
        if broker and consumers:
            await stack.enter_async_context(consuming(settings))
        yield PeersShop(settings, partners, calls)


@asynccontextmanager
async def consuming(settings: Settings) -> AsyncIterator[None]:
    """Run the consumers while the block runs."""
    app = application(settings)
    async with app.lifespan_context():
        await app.start()
        try:
            yield
        finally:
            await app.stop()


@pytest.fixture
def database(data_set: Path, tmp_path: Path) -> Path:
    """A data set that the test may change."""
    return Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))


@pytest.fixture(params=["memory", "rabbitmq", "kafka"])
def broker(request: pytest.FixtureRequest) -> str:
    """What `SHOP_BROKER_URL` is; empty for none."""
    if request.param == "rabbitmq":
        return str(request.getfixturevalue("amqp_url"))
    return str(request.getfixturevalue("kafka_url")) if request.param == "kafka" else ""


@pytest.fixture(params=["memory", "redis"])
def redis_address(request: pytest.FixtureRequest) -> str:
    """What `SHOP_REDIS_URL` is; empty for none."""
    return str(request.getfixturevalue("redis").url) if request.param == "redis" else ""


async def asked(shop: PeersShop, http: httpx.AsyncClient, path: str) -> dict[str, int]:
    """Ask for a page; return what the services were asked for it."""
    before = Counter(shop.calls.counts)
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    return dict(shop.calls.counts - before)


async def order(http: httpx.AsyncClient, product: int = PRODUCT) -> int:
    """Order two pieces; return the order's number."""
    answer = await http.post("/orders", json={"product_id": product, "quantity": 2})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["order_id"])


async def done(database: Path, partners: PartnersBeside, *orders: int) -> None:
    """Wait until each of these orders has its mail, once, and all that were placed are counted."""

    async def is_done() -> bool:
        return len(partners.sent) == len(orders) and rows(database, COUNTED) == rows(database, PLACED)

    await eventually(is_done)
    assert partners.sent == {f"Your order {number}": 1 for number in orders}


# ---- what it is


def test_no_hasten() -> None:
    """None of its processes imports hasten."""
    modules = ", ".join(f"examples.shop.peers.{path.stem}" for path in FOLDER.glob("[!_]*.py"))
    command = f"import sys, {modules}, examples.shop.peers.__main__; sys.exit('hasten' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT, timeout=50, check=False).returncode == 0


def test_same_services() -> None:
    """It has the processes of the fast edition, under the same names, with a broker, too."""
    environment = {"SHOP_BROKER_URL": "amqp://localhost"}
    fast, peers = (EDITIONS[name].for_environment(environment).services for name in ("fast", "peers"))
    assert [service.name for service in peers] == [service.name for service in fast]
    assert not [service for service in peers if "hasten" in service.command(0)]


# ---- what it keeps


def test_hits(data_set: Path, redis_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for just before is asked of no service again; prices and stock are, when their second is over."""
    monkeypatch.setattr(freshness, "CHANGING_TTL", 600.0)

    async def ask() -> None:
        async with peers_shop(data_set, redis=redis_address) as shop, shop.storefront() as http:
            page = {"GetProduct": 1, "GetReviews": 1, "GetPrices": 1, "GetLevels": 1}
            assert [await asked(shop, http, PAGE) for _ in range(2)] == [page, {}]
            assert [await asked(shop, http, SEARCH) for _ in range(2)] == [{"Search": 1}, {}]
            monkeypatch.setattr(freshness, "CHANGING_TTL", 0.0)
            await http.get("/products/1")
            assert await asked(shop, http, "/products/1") == {"GetPrices": 1, "GetLevels": 1}

    asyncio.run(ask())


def test_other_words(data_set: Path) -> None:
    """A search for other words, if only in case, has an answer of its own."""

    async def ask() -> None:
        async with peers_shop(data_set) as shop, shop.storefront() as http:
            for words in ("oak lamp", "Oak Lamp", "{words}", "oak:lamp"):
                for _ in range(2):
                    assert (await http.get("/search", params={"q": words})).json()["query"] == words

    asyncio.run(ask())


def test_one_asks_for_many(data_set: Path) -> None:
    """Who ask for the same page at once wait for one."""

    async def ask() -> None:
        async with peers_shop(data_set) as shop, shop.storefront() as http:
            answers = await asyncio.gather(*(http.get(PAGE) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
            assert shop.calls.counts["GetProduct"] == shop.calls.counts["GetPrices"] == 1
            answers = await asyncio.gather(*(http.get("/products/20001") for _ in range(20)))
            assert {(answer.status_code, answer.text) for answer in answers} == {(404, '{"detail":"no such product"}')}

    asyncio.run(ask())


def test_storefronts_share_redis(data_set: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one storefront has kept another one has, too; and both go on without Redis."""
    monkeypatch.setattr("cashews.backends.redis.client_side._RECONNECT_WAIT", 0.05)  # which its end waits for

    async def ask() -> None:
        async with peers_shop(data_set, redis=redis.url) as shop, shop.storefront() as one, shop.storefront() as other:
            assert "GetProduct" in await asked(shop, one, PAGE)
            assert await asked(shop, other, PAGE) == {"GetPrices": 1, "GetLevels": 1}
            assert await asked(shop, one, SEARCH) == {"Search": 1}
            assert await asked(shop, other, SEARCH) == {}
            redis.kill()
            for http in (one, other):
                assert [(await http.get(path)).status_code for path in ("/products/3", SEARCH, REPORT)] == [200] * 3

    asyncio.run(ask())


# ---- freshness


def test_age() -> None:
    """A response is kept for what is left of a second since it was read; a failure is kept for nothing."""
    now = time.monotonic()
    assert 0 < remaining(result=Kept(b"", now)) <= freshness.CHANGING_TTL
    assert 0 < remaining(result=Kept(b"", now - 0.75)) <= 0.25
    assert 0 < remaining(result=Kept(b"", now - 2.0)) < 1e-3
    assert 0 < remaining(result=ValueError()) < 1e-3


def test_after_an_order(database: Path, redis_address: str) -> None:
    """Who has ordered sees it at once; through another storefront everybody does from a second after it on."""

    async def ask() -> None:
        async with (
            peers_shop(database, redis=redis_address) as shop,
            shop.storefront() as one,
            shop.storefront() as other,
        ):

            async def seen(http: httpx.AsyncClient) -> tuple[int, int]:
                page, report = (await http.get(PAGE)).json(), (await http.get(REPORT)).json()
                return page["stock"]["available"], new_orders(report)

            available, orders = await seen(one)
            await seen(other)
            await order(one)
            answered = time.monotonic()
            after = (available - 2, orders + 1)
            assert await seen(one) == after
            while (began := time.monotonic()) <= answered + freshness.CHANGING_TTL:
                assert await seen(other) in {(old, new) for old in (available, after[0]) for new in (orders, after[1])}
            assert began > answered
            assert await seen(other) == after

    asyncio.run(ask())


# ---- what follows from an order


def test_one_mail_for_each_order(database: Path, broker: str) -> None:
    """Each order has one mail and counts once, whatever carries its event, and nothing is left in the outbox."""

    async def scenario() -> None:
        async with peers_shop(database, broker=broker) as shop:
            async with shop.storefront() as http:
                orders = await asyncio.gather(*(order(http, product) for product in (PRODUCT, PRODUCT, 20)))
                await done(database, shop.partners, *orders)
            assert rows(database, WAITING) == []

    asyncio.run(scenario())


def test_a_mail_that_could_not_be_sent(database: Path, broker: str) -> None:
    """A mail is tried again until the partner takes it."""

    async def scenario() -> None:
        async with peers_shop(database, broker=broker, statuses=[503]) as shop, shop.storefront() as http:
            number = await order(http)
            await done(database, shop.partners, number)
            assert shop.partners.subjects == {f"Your order {number}": 2}

    asyncio.run(scenario())


def test_a_mail_that_is_refused(database: Path, broker: str, caplog: pytest.LogCaptureFixture) -> None:
    """A mail that the partner refuses is not tried again, and the log says which it was; its order counts."""

    async def scenario() -> None:
        async with peers_shop(database, broker=broker, statuses=[422]) as shop, shop.storefront() as http:
            refused = await order(http)
            await eventually(lambda: is_logged(f"no confirmation of order {refused}"))
            sent = await order(http, 20)
            await eventually(lambda: is_counted(database))
            await eventually(lambda: is_sent(shop.partners, sent))
            assert shop.partners.subjects == {f"Your order {refused}": 1, f"Your order {sent}": 1}

    async def is_logged(text: str) -> bool:
        return text in caplog.text

    asyncio.run(scenario())


async def is_counted(database: Path) -> bool:
    """Whether all that were placed are counted."""
    return rows(database, COUNTED) == rows(database, PLACED)


async def is_sent(partners: PartnersBeside, number: int) -> bool:
    """Whether an order has its mail."""
    return partners.sent[f"Your order {number}"] > 0


def test_left_behind(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event of a storefront that is killed after the commit is handed on by another one when its lease is over."""
    monkeypatch.setattr(Outbox, "hand_on", lambda *_: None)
    monkeypatch.setattr(outbox, "LEASE", 0.2)

    async def scenario() -> None:
        async with peers_shop(database) as shop:
            async with shop.storefront() as http:
                number = await order(http)
            async with shop.storefront():
                await done(database, shop.partners, number)

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore:Unclosed AIOKafkaProducer:ResourceWarning")  # FastStream leaves it so
@pytest.mark.parametrize("url", ["amqp://127.0.0.1:9", "kafka://127.0.0.1:9"])
def test_no_broker_at_the_start(database: Path, url: str) -> None:
    """A storefront whose broker is away starts, and takes orders; what follows comes when there is one."""

    async def scenario() -> None:
        async with peers_shop(database, broker=url, consumers=False) as shop, shop.storefront() as http:
            number = await order(http)
            await eventually(has_failed)
        async with peers_shop(database) as shop, shop.storefront():
            await done(database, shop.partners, number)

    async def has_failed() -> bool:
        return rows(database, "SELECT failures > 0 FROM peers_outbox") == [(1,)]

    asyncio.run(scenario())
    gc.collect()  # of the producer that never started


@pytest.mark.may_block
def test_the_broker_is_killed(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are answered while RabbitMQ is dead; when it is back, each has its mail and counts, once."""
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.2)

    async def scenario() -> None:
        async with peers_shop(database, broker=server.url) as shop, shop.storefront() as http:
            orders = [await order(http)]
            await done(database, shop.partners, *orders)
            await asyncio.sleep(YOUNG_SECONDS)  # until the queues are what the broker finds again
            server.kill()
            orders += await asyncio.gather(*(order(http) for _ in range(5)))
            waiting = {number for (number,) in rows(database, WAITING)}
            server.start()  # in the main thread: the server ends with the thread that started it
            await asyncio.to_thread(server.await_ready)
            assert waiting == set(orders[1:])
            await done(database, shop.partners, *orders)

    with own_server(RABBITMQ, tmp_path / "rabbitmq") as server:
        asyncio.run(scenario())


def test_a_broker_that_keeps_events(database: Path, broker: str) -> None:
    """Events that came before any consumer are there for the first one."""

    async def scenario() -> None:
        async with peers_shop(database, broker=broker, consumers=not broker) as shop, shop.storefront() as http:
            number = await order(http)
            await eventually(is_handed_on)
            async with consuming(shop.settings) if broker else AsyncExitStack():
                await done(database, shop.partners, number)

    async def is_handed_on() -> bool:
        return rows(database, WAITING) == []

    asyncio.run(scenario())


# ---- as it is started


@pytest.mark.parametrize("shop", ["peers with RabbitMQ", "peers with Kafka"], indirect=True)
def test_with_a_broker(shop: Shop) -> None:
    """Whichever storefront takes an order, consumers of their own send its mail, and count it."""

    async def scenario() -> None:
        async with httpx.AsyncClient() as http:
            wanted = {"product_id": PRODUCT, "quantity": 1}
            answers = [await http.post(f"{url}/orders", json=wanted) for url in (*shop.urls, *shop.urls)]
        numbers = sorted(answer.json()["order_id"] for answer in answers)

        async def is_done() -> bool:
            mailed = [number for (number,) in shop.rows("SELECT order_id FROM mails ORDER BY order_id")]
            return mailed == numbers and shop.rows(COUNTED) == shop.rows(PLACED)

        await eventually(is_done)

    assert len(shop.urls) > 1
    asyncio.run(scenario())

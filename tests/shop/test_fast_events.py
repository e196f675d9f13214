"""What follows from an order comes once and for certain, whatever is away or killed; and no order waits for it."""

import asyncio
import shutil
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from aiohttp import web

from examples.shop.fast import deliveries, mail
from examples.shop.fast.events import OrderPlaced
from examples.shop.launcher import ROOT
from hasten.events import Envelope, RetryPolicy
from hasten.events.brokers._amqp_topology import YOUNG_SECONDS
from hasten.events.brokers.memory import MemoryBroker
from servers import RABBITMQ
from tests.events.brokers.adapter import eventually
from tests.own_servers import own_server
from tests.shop.in_process import UNREACHABLE, FastShop, fast_shop, is_published, partner, rows
from tests.shop.market import Market, market
from tests.shop.running import Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PRODUCTS = (4_711, 4_711, 1_234, 20, 4_711)
QUICKLY = RetryPolicy(2, first=0.01, longest=0.02)
PLACED = "SELECT product_id, count(*), sum(quantity), sum(total_cents) FROM orders WHERE id > 31500 GROUP BY product_id"
COUNTED = "SELECT product_id, sum(orders), sum(pieces), sum(revenue_cents) FROM sales GROUP BY product_id"
MAILED = "SELECT order_id FROM mails ORDER BY order_id"
ORDERED = "SELECT id FROM orders WHERE id > 31500 ORDER BY id"
WRITTEN = """
SELECT id, product_id, quantity, total_cents, day, 'Leeds', 'mia@shop.example' FROM orders WHERE id > 31500
"""


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


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"orders.{uuid4().hex[:12]}"


@dataclass(slots=True)
class MailPartner:
    """Notes what it is asked to send, and answers with `status`."""

    address: str = ""
    status: int = 202
    subjects: Counter[str] = field(default_factory=Counter)
    recipients: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> "AsyncIterator[MailPartner]":
        """Answer while the block runs."""
        async with partner({"/messages": self.send}) as self.address:
            yield self

    async def send(self, request: web.Request) -> web.Response:
        """Note a mail."""
        message = await request.json()
        self.subjects[message["subject"]] += 1
        self.recipients.append(message["recipient"])
        return web.json_response({}, status=self.status)


async def order(shop: FastShop, product: int = PRODUCTS[0]) -> int:
    """Order two pieces; return the order's number."""
    answer = await shop.http.post("/orders", json={"product_id": product, "quantity": 2, "email": "mia@shop.example"})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["order_id"])


async def done(database: Path, mails: MailPartner, *orders: int) -> None:
    """Wait until each of these orders has its mail, and all that were placed are counted."""

    async def is_done() -> bool:
        sent = {subject.removeprefix("Your order ") for subject in mails.subjects}
        return sent >= {str(number) for number in orders} and rows(database, COUNTED) == rows(database, PLACED)

    await eventually(is_done)


def once(mails: MailPartner, *orders: int) -> bool:
    """Whether each of these orders, and no other, had one mail."""
    return mails.subjects == {f"Your order {number}": 1 for number in orders}


def dead_letters(database: Path, group: str) -> list[Envelope]:
    """Return what a group of a shop without a broker has given up; the shop does not run."""

    async def ask() -> list[Envelope]:
        file = MemoryBroker(Path(f"{database}-events"))
        await file.start()
        try:
            return await file.dead_letters("orders.placed", group, 100)
        finally:
            await file.aclose()

    return asyncio.run(ask())


# ---- once


def test_one_mail_for_each_order(database: Path, broker: str, topic: str) -> None:
    """Each order has one mail and counts once, through any broker, also when its event comes again after a restart."""

    async def scenario() -> None:
        async with MailPartner().open() as mails:
            async with fast_shop(database, mail=mails.address, broker=broker, topic=topic) as shop:
                orders = [await order(shop, product) for product in PRODUCTS]
                await done(database, mails, *orders)
            async with fast_shop(database, mail=mails.address, broker=broker, topic=topic) as shop:
                await again(shop, database)
                orders += [await order(shop, product) for product in set(PRODUCTS)]  # behind those that come again
                await done(database, mails, *orders)
            assert once(mails, *orders)
            assert rows(database, COUNTED) == rows(database, PLACED)
            assert await is_published(database)

    asyncio.run(scenario())


async def again(shop: FastShop, database: Path) -> None:
    """Have the events of all orders published a second time, as a relay does that was killed."""
    for row in rows(database, WRITTEN):
        await shop.clients.database.write(shop.clients.deliveries.add, OrderPlaced(*row))


@pytest.mark.parametrize("shop", ["fast"], indirect=True)
def test_several_storefronts(shop: Shop) -> None:
    """Whichever storefront takes an order, its mail is sent by the one that has the events."""

    async def scenario() -> None:
        numbers = []
        async with httpx.AsyncClient() as http:
            for url in shop.urls:
                answer = await http.post(f"{url}/orders", json={"product_id": PRODUCTS[0], "quantity": 1})
                numbers.append(answer.json()["order_id"])

        async def are_sent() -> bool:
            sent = {number for (number,) in shop.rows("SELECT order_id FROM mails")}
            return sent.issuperset(numbers)

        await eventually(are_sent)

    assert len(shop.urls) > 1
    asyncio.run(scenario())


def test_another_storefront_goes_on(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storefront has its mails sent by the one that has the events, and sends them itself when that one ends."""
    monkeypatch.setattr(deliveries, "TRY_AGAIN", 0.02)

    async def scenario() -> None:
        async with MailPartner().open() as mails:
            other = fast_shop(database, mail=mails.address)
            async with fast_shop(database, mail=mails.address) as first:
                orders = [await order(first)]
                await done(database, mails, *orders)
                second = await other.__aenter__()
                orders.append(await order(second))
                await done(database, mails, *orders)
            try:
                orders.append(await order(second))
                await done(database, mails, *orders)
            finally:
                await other.__aexit__(None, None, None)
            assert once(mails, *orders)

    asyncio.run(scenario())


@pytest.mark.parametrize("address", [r"\ud800", "a" * 2_000_000], ids=["no text", "endless"])
def test_no_address(database: Path, address: str) -> None:
    """An order that was paid is taken whatever stands for an address, and its event fits into any broker."""

    async def scenario() -> None:
        async with MailPartner().open() as mails, fast_shop(database, mail=mails.address) as shop:
            body = f'{{"product_id": 20, "quantity": 1, "email": "{address}"}}'
            answer = await shop.http.post("/orders", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 201
            await done(database, mails, answer.json()["order_id"])
        assert len(mails.recipients[0]) <= 320

    asyncio.run(scenario())


# ---- what is away


@pytest.mark.may_block
def test_the_broker_is_killed(database: Path, tmp_path: Path, topic: str) -> None:
    """Orders are answered while RabbitMQ is dead; when it is back, each has its mail and counts, once."""

    async def scenario() -> None:
        async with (
            MailPartner().open() as mails,
            fast_shop(database, mail=mails.address, broker=server.url, topic=topic) as shop,
        ):
            orders = [await order(shop)]
            await done(database, mails, *orders)
            await asyncio.sleep(YOUNG_SECONDS)  # until the queues are what the broker finds again
            crowd = asyncio.gather(*(order(shop, product) for product in PRODUCTS * 4))
            orders.append(await order(shop))
            server.kill()
            late = await asyncio.gather(*(order(shop, product) for product in PRODUCTS))
            orders += [*await crowd, *late]
            waiting = {number for (number,) in rows(database, "SELECT id FROM hasten_outbox")}
            assert waiting >= {f"order-{number}" for number in late}
            server.start()  # in the main thread: the server ends with the thread that started it
            await asyncio.to_thread(server.await_ready)
            await done(database, mails, *orders)
        assert once(mails, *orders)

    with own_server(RABBITMQ, tmp_path / "rabbitmq") as server:
        asyncio.run(scenario())


def test_no_broker_at_the_start(database: Path) -> None:
    """A storefront whose broker is away starts, and takes orders; what follows comes when there is one."""

    async def scenario() -> None:
        async with fast_shop(database, broker="amqp://127.0.0.1:9", consumers=False) as shop:
            number = await order(shop)
            assert rows(database, "SELECT id, key FROM hasten_outbox") == [(f"order-{number}", str(PRODUCTS[0]))]
        async with MailPartner().open() as mails, fast_shop(database, mail=mails.address):
            await done(database, mails, number)
        assert once(mails, number)

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "requests"), [(503, 3), (422, 1)], ids=["away", "refuses"])
def test_no_mail(database: Path, monkeypatch: pytest.MonkeyPatch, status: int, requests: int) -> None:
    """A mail that cannot be sent is tried again, one that is refused is not; then it is given up, the order stands."""
    monkeypatch.setattr(mail, "RETRIES", QUICKLY)

    async def scenario() -> int:
        async with (
            MailPartner(status=status).open() as mails,
            fast_shop(database, mail=mails.address) as shop,
        ):
            number = await order(shop)

            async def was_asked() -> bool:
                return mails.subjects.total() >= requests and rows(database, COUNTED) == rows(database, PLACED)

            await eventually(was_asked)
        assert mails.subjects == {f"Your order {number}": requests}
        return number

    number = asyncio.run(scenario())
    assert rows(database, PLACED) != []
    assert rows(database, "SELECT * FROM mails") == []
    (letter,) = dead_letters(database, "mail")
    assert (letter.id, str(status) in letter.reason) == (f"order-{number}", True)
    assert dead_letters(database, "sales") == []


def test_mails_follow_when_the_partner_is_back(database: Path) -> None:
    """An order whose mail could not be sent when the shop ended has it from the next one."""

    async def scenario() -> None:
        async with fast_shop(database, mail=UNREACHABLE) as shop:
            number = await order(shop)
            await eventually(lambda: is_published(database))
        async with MailPartner().open() as mails, fast_shop(database, mail=mails.address):
            await done(database, mails, number)
        assert once(mails, number)

    asyncio.run(scenario())


# ---- who is killed


@pytest.mark.parametrize("point", ["committed", "delivered"])
def test_the_storefront_is_killed(database: Path, point: str) -> None:
    """A storefront dies after an order's commit, or when its mail is under way: the next storefront sends it, once."""

    async def scenario() -> None:
        async with MailPartner().open() as mails:
            arguments = (str(database), mails.address, point)
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.shop.killed_storefront", *arguments, cwd=ROOT
            )
            assert await worker.wait() == -signal.SIGKILL
            ((number,),) = rows(database, "SELECT id FROM orders WHERE id > 31500")
            assert mails.subjects == {}
            async with fast_shop(database, mail=mails.address):
                await done(database, mails, number)
            assert once(mails, number)

    asyncio.run(scenario())


# ---- as it is started


@pytest.mark.parametrize("shop", ["fast with RabbitMQ", "fast with Kafka"], indirect=True)
def test_with_a_broker(shop: Shop) -> None:
    """With a broker and no Redis each order of many has its mail, by consumers of their own, and nobody is shown the
    stock, the pages or the report of before it, though all of them are kept."""

    async def shopping() -> Market:
        async with market(shop, seed=5) as customers:
            async with customers.opened(buyers=6, lookers=6):
                await customers.after(orders=100, looks=300)
            return customers

    async def are_sent() -> bool:
        return shop.rows(COUNTED) == shop.rows(PLACED) and shop.rows(MAILED) == shop.rows(ORDERED)

    customers = asyncio.run(shopping())
    assert {kind for kind, state in customers.looks if state == "hit"} == {"own", "beside", "report"}
    asyncio.run(eventually(are_sent))

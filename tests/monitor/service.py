"""A service in a process of its own that makes every metric of the catalogue move: `python -m tests.monitor.service`.

It prints one line of JSON when it answers, `{"url": ..., "admin": ...}`, and runs until SIGTERM.
`tests.monitor.driving` starts it and sends it requests: each route moves the metrics that its name says.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiosqlite
import grpc
import msgspec
import uvicorn
from fastapi import FastAPI, HTTPException

import hasten
from hasten import rpc
from hasten.cache import Cache, StoreError
from hasten.cache.backplanes.memory import memory_backplanes
from hasten.cache.stores.memory import MemoryStore
from hasten.concurrency import Background, GcPolicy, TaskWatch, ThreadPool
from hasten.events import Bus, Message, Reject, RetryPolicy
from hasten.events.outbox import Outbox, Relay, SqliteDatabase
from hasten.http.client import Client
from hasten.monitor import Pool
from hasten.monitor.otel import Otlp
from hasten.resilience import Breaker, Limiter, Priority
from hasten.resilience import RetryPolicy as Again
from tests.cache.processes import Shaky
from tests.load.servers import read_request

SERVICE = "monitored"
GRPC_SERVICE = "shop.v1.Catalog"
TOPIC = "orders.paid"
TOO_MANY = 210
"""Topics: more than a metric may have as label sets."""
READERS = 2
RETRIED = {
    "maxAttempts": 3,
    "initialBackoff": "0.001s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
HEDGED = {"maxAttempts": 2, "hedgingDelay": "0.005s", "nonFatalStatusCodes": []}
CONFIG = {
    "methodConfig": [
        {"name": [{"service": GRPC_SERVICE, "method": "Flaky"}], "retryPolicy": RETRIED},
        {"name": [{"service": GRPC_SERVICE, "method": "Slow"}], "hedgingPolicy": HEDGED},
    ]
}


class Order(msgspec.Struct, frozen=True):
    """What is paid; one of 0 cents fails once, one of less is refused, one of more than 1,000 always fails."""

    number: int
    cents: int


# ---- calls


class Catalog:
    """Answers gRPC calls."""

    def __init__(self) -> None:
        self._calls = 0

    async def get(self, request: bytes, _: Any) -> bytes:
        return request * 100

    async def slow(self, request: bytes, _: Any) -> bytes:
        await asyncio.sleep(0.02)
        return request

    async def flaky(self, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        self._calls += 1
        if self._calls % 2:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "every other call")
        return request

    async def fails(self, _: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        await context.abort(grpc.StatusCode.INTERNAL, "as it was asked to")

    def add_to(self, server: rpc.Server) -> None:
        methods = {"Get": self.get, "Slow": self.slow, "Flaky": self.flaky, "Fails": self.fails}
        handlers: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        server.add_registered_method_handlers(GRPC_SERVICE, handlers)


class Prices:
    """Answers HTTP calls: every other one for /flaky with 503, all for /fails with 500."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.client = Client(
            f"http://127.0.0.1:{self.listener.getsockname()[1]}", retry=Again(attempts=3, first_backoff=0.001)
        )
        self._flaky = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError), contextlib.closing(writer):
            while request := await read_request(reader):
                target = request.split(b" ", 2)[1]
                self._flaky += target == b"/flaky"
                status = 500 if target == b"/fails" else 503 if target == b"/flaky" and self._flaky % 2 else 200
                writer.write(b"HTTP/1.1 %d Word\r\ncontent-length: 2\r\n\r\n42" % status)

    async def ask(self) -> list[int]:
        return [(await self.client.get(f"/{name}")).status for name in ("price", "flaky", "fails")]


# ---- caches


class Caches:
    """A healthy cache with a second tier, and one whose second tier is ill when a request says so."""

    def __init__(self) -> None:
        ours, theirs = memory_backplanes(2)
        second = os.environ.get("HASTEN_TEST_REDIS_URL") or MemoryStore()
        plane = None if isinstance(second, str) else ours
        bounds = "memory://?max_entries=5&max_bytes=100000"
        self.store = Shaky()
        self.products = Cache(bounds, second, backplane=plane, namespace="products", timeout=1.0)
        self.sessions = Cache(bounds, self.store, backplane=theirs, namespace="sessions")
        self.ill = False
        self._add_products()
        self._add_sessions()

    def _add_products(self) -> None:
        cached = self.products.cached

        @cached(ttl=60.0, name="product")
        async def load_product(number: int) -> str:
            await asyncio.sleep(0.002)
            return f"product {number}"

        @cached(ttl=0.001, stale=60.0, name="price")
        async def load_price(number: int) -> int:
            return number * 100

        @cached(ttl=0.001, stale_if_error=60.0, name="rating", shared=False)
        async def load_rating(number: int) -> int:
            if self.ill:
                raise ConnectionError("no ratings")
            return number % 5

        self.load_product, self.load_price, self.load_rating = load_product, load_price, load_rating

    def _add_sessions(self) -> None:
        @self.sessions.cached(ttl=60.0, name="session")
        async def load_session(number: int) -> str:
            return f"session {number}"

        self.load_session = load_session

    async def use(self, number: int) -> None:
        """Hit, miss, join, serve stale, evict, overtake a load."""
        await asyncio.gather(*(self.load_product(number) for _ in range(3)))
        await self.load_product(number)
        await self.load_price(7)
        loading = asyncio.create_task(self.load_product(-number))
        await asyncio.sleep(0.001)
        await self.load_product.invalidate(-number)
        await loading

    async def use_ill(self, number: int) -> None:
        """Have a loader fail behind a stale value, and the second tier of the sessions fail."""
        self.ill = False
        await self.load_rating(7)
        await asyncio.sleep(0.002)
        self.ill, self.store.error = True, StoreError("memory", "is ill")
        try:
            await self.load_rating(7)
            await self.load_session(number)
        finally:
            self.ill, self.store.error = False, None

    async def aclose(self) -> None:
        await self.products.aclose()
        await self.sessions.aclose()


# ---- messages


def subscribe(bus: Bus) -> None:
    """Have the bus handle orders: succeed, refuse, fail once, fail for ever."""

    @bus.subscribe(TOPIC, group="billing", retry=RetryPolicy(1, first=0.01))
    async def bill(order: Order, message: Message) -> None:
        if order.cents < 0:
            raise Reject("nothing to pay")
        if order.cents > 1000 or (order.cents == 0 and message.attempt == 1):
            raise ConnectionError("the bank is away")

    @bus.subscribe(TOPIC, group="mail", concurrency=4)
    async def send(order: Order) -> None:
        await asyncio.sleep(0.001)

    @bus.subscribe(TOPIC, group="audit", concurrency=1)
    async def note(order: Order) -> None:
        await asyncio.sleep(0.05)  # slower than orders come: it lags


async def publish_orders(bus: Bus, number: int) -> None:
    """Publish one of each kind."""
    for cents in (500, 0, -1, 2000):
        await bus.publish(TOPIC, Order(number, cents), key=str(number))


# ---- a database


class Readers:
    """Two connections to a database, each used in a thread of their own pool."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(READERS, "reader")
        self._used = 0

    async def read(self) -> int:
        self._used += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._count)
        finally:
            self._used -= 1

    def _count(self) -> int:
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            time.sleep(0.002)
            return int(connection.execute("SELECT count(*) FROM hasten_outbox").fetchone()[0])

    def pool(self) -> Pool:
        used = min(self._used, READERS)
        return Pool(used=used, idle=READERS - used, limit=READERS, waiting=self._used - used)

    def close(self) -> None:
        self._threads.shutdown(wait=False)


class Parts:
    """All that the service is made of.

    Args:
      folder: Of its database.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.db"
        self.bus = Bus("memory://", origin=SERVICE, lag_every=0.2, drain=0.1)
        subscribe(self.bus)
        self.outbox = Outbox(SqliteDatabase(self.path), origin=SERVICE)
        self.relay = Relay(self.outbox, self.bus, poll=0.1)
        self.caches = Caches()
        self.readers = Readers(self.path)
        self.breaker = Breaker(first=0.05, longest=0.1)
        self.limiter = Limiter(initial=4, least=4, most=4)
        self.threads = ThreadPool("reports", 1, queue=1)
        self.background = Background()
        self.beside = (GcPolicy(threshold=0), TaskWatch(), self.threads, self.background)
        self.server = rpc.Server()
        Catalog().add_to(self.server)
        self.prices = Prices()
        self.channel = rpc.Channel(f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}", service_config=CONFIG)

    @contextlib.asynccontextmanager
    async def living(self, _: FastAPI) -> AsyncIterator[None]:
        async with aiosqlite.connect(self.path) as connection:
            await self.outbox.create(connection)
            await connection.commit()
        await self.server.start()
        prices = await asyncio.start_server(self.prices.answer, sock=self.prices.listener)
        async with self.channel:
            yield
        prices.close()
        await self.server.stop(None)
        await self.caches.aclose()
        self.readers.close()

    async def add_orders(self, number: int) -> None:
        """Write an order that will be published, and one that nobody wants, in a transaction."""
        async with aiosqlite.connect(self.path) as connection:
            await self.outbox.add(connection, TOPIC, Order(number, 500))
            await self.outbox.add(connection, "orders.unwanted", Order(number, 500))
            await connection.commit()
        self.relay.wake()

    async def call(self, method: str) -> bytes:
        answer: bytes = await self.channel.unary_unary(f"/{GRPC_SERVICE}/{method}")(b"x" * 10)
        return answer

    def pay(self) -> None:
        """Ask what is ill half of the time, behind a breaker."""
        if self.breaker.closed or self.breaker.allows():
            if self.breaker.statistics().answers % 2:
                self.breaker.failed()
            self.breaker.succeeded(0.001)

    def crowd(self) -> None:
        """Have room for what matters most alone."""
        while self.limiter.in_flight < 3 and self.limiter.admits(Priority.HIGH):
            pass
        if self.limiter.admits(Priority.HIGH):
            self.limiter.dropped()
        assert not self.limiter.admits(Priority.LOW)

    async def work_beside(self) -> None:
        """Work in a thread, refuse some, keep a task, and lose the error of one."""
        calls = [self.threads.run(time.sleep, 0.002) for _ in range(4)]
        await asyncio.gather(*calls, return_exceptions=True)
        self.background.keep(asyncio.sleep(0.3))
        lost = asyncio.create_task(lose())
        await asyncio.wait([lost])


async def lose() -> None:
    """Fail, so that nobody sees it."""
    raise LookupError("nobody sees this")


# ---- requests


def make_app(parts: Parts) -> FastAPI:
    """Return the app; each route moves the metrics that its name says."""
    app = FastAPI(lifespan=parts.living)
    _add_plain(app)
    _add_parts(app, parts)
    return app


def _add_plain(app: FastAPI) -> None:
    @app.get("/ok/{number}")
    async def ok(number: int) -> int:
        return number

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(0.03)

    @app.get("/fails")
    async def fails() -> None:
        raise HTTPException(503)

    @app.get("/blocks")
    async def blocks() -> None:
        time.sleep(0.03)

    @app.get("/threads")
    def threads() -> None:
        time.sleep(0.002)

    @app.get("/collects")
    async def collects() -> list[int]:
        return [gc.collect(generation) for generation in range(3)]


def _add_parts(app: FastAPI, parts: Parts) -> None:
    # Over 40 lines because each of the small functions within is a case, and shares what is around it.
    @app.get("/calls")
    async def calls() -> str:
        await parts.call("Get")
        await parts.call("Flaky")
        await parts.call("Slow")
        codes = []
        for method in ("Fails", "Unknown"):
            try:
                await parts.call(method)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code().name)
        return " ".join(codes)

    @app.get("/prices")
    async def prices() -> list[int]:
        return await parts.prices.ask()

    @app.post("/orders/{number}")
    async def orders(number: int) -> None:
        await publish_orders(parts.bus, number)
        await parts.add_orders(number)

    @app.get("/caches/{number}")
    async def caches(number: int) -> None:
        await parts.caches.use(number)

    @app.get("/ill/{number}")
    async def ill(number: int) -> None:
        await parts.caches.use_ill(number)

    @app.get("/reads")
    async def reads() -> list[int]:
        return await asyncio.gather(*(parts.readers.read() for _ in range(READERS * 2)))

    @app.get("/pays")
    async def pays() -> None:
        parts.pay()
        parts.crowd()

    @app.get("/beside")
    async def beside() -> None:
        await parts.work_beside()

    @app.post("/folds")
    async def folds() -> None:
        for number in range(TOO_MANY):
            await parts.bus.publish(f"topic.{number}", Order(number, 1), mandatory=False)


# ---- the process


def serve(folder: Path, slo: Path | None, service: str) -> None:
    """Serve until SIGTERM, and say where when it answers."""
    for name in ("hasten", "opentelemetry", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails does so because it is asked to
    parts = Parts(folder)
    app = make_app(parts)
    watched = (parts.caches.products, parts.caches.sessions, parts.server, parts.channel)
    hasten.install(
        app,
        service=service,
        version="1.2.3",
        bus=(parts.bus, parts.relay, parts.prices.client, *parts.beside),
        watch=watched,
        slo=slo,
        admin="127.0.0.1:0",
        sample_every=1,
        otlp=Otlp("http://127.0.0.1:9", every=0.5, timeout=0.3, ratio=1.0),  # nobody answers there
    )
    app.state.monitor.watch_pool("readers", parts.readers.pool)
    app.state.monitor.watch_breaker("payments", parts.breaker)
    app.state.monitor.watch_limiter("reports", parts.limiter)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    Announcing(uvicorn.Config(app, log_level="error"), url, app).run(sockets=[listener])


class Announcing(uvicorn.Server):
    """Says where it and its admin port are when both answer."""

    def __init__(self, config: uvicorn.Config, url: str, app: FastAPI) -> None:
        super().__init__(config)
        self._url = url
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            admin = self._app.state.monitor.url
            print(json.dumps({"url": self._url, "admin": admin}), flush=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slo", type=Path, help="file of objectives")
    parser.add_argument("--service", default=SERVICE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="monitored-") as folder:
        serve(Path(folder), options.slo, options.service)


if __name__ == "__main__":
    main()

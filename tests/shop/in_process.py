"""The fast edition's services and storefront in this process, with calls that can be counted and held."""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import grpc.aio
import httpx
from aiohttp import web

from examples.shop.fast import catalog, pricing, reviews, stock
from examples.shop.fast.backends import Timeouts
from examples.shop.fast.consumers import Consumers
from examples.shop.fast.serving import AddService, serving
from examples.shop.fast.settings import Settings
from examples.shop.fast.storefront import Clients, storefront

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

SERVICES: Mapping[str, AddService] = MappingProxyType(
    {
        "catalog": catalog.add_service,
        "pricing": pricing.add_service,
        "stock": stock.add_service,
        "reviews": reviews.add_service,
    }
)
UNREACHABLE = "http://127.0.0.1:9"
"""Nobody listens on the discard port."""


@dataclass(slots=True)
class Calls(grpc.aio.ServerInterceptor):
    """Counts the calls that services get, by method, and lets `before` hold them."""

    counts: Counter[str] = field(default_factory=Counter)
    before: Callable[[str], Awaitable[None]] | None = None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Note the call, and go on when `before` is done."""
        method = handler_call_details.method.rpartition("/")[2]
        self.counts[method] += 1
        if self.before is not None:
            await self.before(method)
        return await continuation(handler_call_details)


@dataclass(frozen=True, slots=True)
class FastShop:
    """A running storefront; `stop` ends one of the services behind it."""

    http: httpx.AsyncClient
    clients: Clients
    calls: Calls
    running: Mapping[str, AsyncExitStack]

    async def stop(self, name: str) -> None:
        """End a service."""
        await self.running[name].aclose()


def settings_for(database: Path, redis: str | None = None, broker: str = "", topic: str = "") -> Settings:
    """Return the settings of a process that needs no other service."""
    return Settings.from_environment(
        {"SHOP_DATABASE": str(database), "SHOP_REDIS_URL": redis or "", "SHOP_BROKER_URL": broker, "SHOP_TOPIC": topic}
    )


@asynccontextmanager
async def fast_shop(
    database: Path,
    *,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    services: Mapping[str, AddService] = SERVICES,
    payments: str = "",
    mail: str = "",
    redis: str | None = None,
    broker: str = "",
    topic: str = "",
    consumers: bool = True,
) -> AsyncIterator[FastShop]:
    """Run the edition, with its consumers if there is a broker, unless it is to have none.

    Payments and mail are fakes that always agree, unless other addresses are given.
    """
    calls = Calls()
    async with AsyncExitStack() as stack:
        partners = await stack.enter_async_context(agreeable_partners())
        targets, running = {}, {}
        for name, add_service in services.items():
            running[name] = await stack.enter_async_context(AsyncExitStack())
            serves = serving(add_service, "127.0.0.1:0", settings_for(database, redis), [calls])
            targets[name] = f"dns:///127.0.0.1:{await running[name].enter_async_context(serves)}"
        settings = replace(
            settings_for(database, redis, broker, topic),
            catalog=targets["catalog"],
            pricing=targets["pricing"],
            stock=targets["stock"],
            reviews=targets["reviews"],
            payments=payments or partners,
            mail=mail or partners,
        )
        if broker and consumers:
            await stack.enter_async_context(Consumers(settings))
        app = storefront(settings, timeouts)
        await stack.enter_async_context(app.router.lifespan_context(app))
        if redis is not None:  # memory is used from the moment on that invalidations reach it
            assert await app.state.clients.cache.invalidate_tags("anything")
        transport = httpx.ASGITransport(app)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://shop"))
        yield FastShop(http, app.state.clients, calls, running)


@asynccontextmanager
async def agreeable_partners() -> AsyncIterator[str]:
    """Serve payments that are always paid, and mail that is always sent, at the address given to the block."""

    async def charge(_: web.Request) -> web.Response:
        return web.json_response({"status": "paid", "reference": f"pay-{os.getpid()}"})

    async def send(_: web.Request) -> web.Response:
        return web.json_response({"id": "mail-1"}, status=202)

    async with partner({"/charges": charge, "/messages": send}) as address:
        yield address


@asynccontextmanager
async def partner(routes: Mapping[str, Callable[[web.Request], Awaitable[web.Response]]]) -> AsyncIterator[str]:
    """Serve POST at these paths, at the address given to the block."""
    served = web.Application()
    served.add_routes([web.post(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(served)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


async def is_published(database: Path) -> bool:
    """Whether nothing is left in the outbox."""
    return rows(database, "SELECT count(*) FROM hasten_outbox") == [(0,)]


def barrier(*pairs: tuple[str, str]) -> Callable[[str], Awaitable[None]]:
    """Hold each call of a pair until the other has come too."""
    barriers = {method: meeting for pair, meeting in ((pair, asyncio.Barrier(2)) for pair in pairs) for method in pair}

    async def meet(method: str) -> None:
        await barriers[method].wait()

    return meet

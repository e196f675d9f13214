"""A storefront that asks a stock service, which publishes what somebody handles: with telemetry in each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import httpx
from fastapi import FastAPI, HTTPException

import hasten
import hasten.rpc
from hasten.events import Bus, RetryPolicy
from hasten.monitor import Monitor
from hasten.monitor.otel import Otlp, Telemetry

METHOD = "/shop.Stock/Reserve"
TOPIC = "stock.reserved"


@asynccontextmanager
async def telling(otlp: Otlp | str, *things: Any, service: str = "stock") -> AsyncIterator[Telemetry]:
    """Have what things do told to a collector while the block runs."""
    monitor = Monitor(service)
    telemetry = Telemetry(monitor, otlp)
    monitor.follow(telemetry)
    monitor.watch(*things)
    telemetry.start()
    try:
        yield telemetry
    finally:
        await telemetry.aclose()


@asynccontextmanager
async def living(app: Any) -> AsyncIterator[None]:
    """Run an ASGI app's lifespan around a block, as a server does."""
    asked, said = asyncio.Queue[Any](), asyncio.Queue[Any]()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, asked.get, said.put))
    await asked.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await asked.put({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await task


class Shop:
    """The whole of it in one process; enter it, then ask `client`.

    Args:
      otlp: The collector; None for none.
      handle: What handles a message.
      retry: How often that is done again.

    Attributes:
      client: Of the storefront.
      handled: Set when a message has been.
      traceparents: That the storefront's own requests would carry on, in their order.
    """

    def __init__(
        self,
        otlp: Otlp | str | None,
        *,
        handle: Callable[[], Awaitable[None]] | None = None,
        retry: RetryPolicy | None = None,
        **options: Any,
    ) -> None:
        self.otlp = otlp
        self.handled = asyncio.Event()
        self.traceparents: list[str] = []
        self._handle = handle
        self.bus = Bus("memory://")
        self.bus.subscribe(TOPIC, group="mail", retry=retry)(self._mail)
        self.server = hasten.rpc.Server()
        handler: Any = grpc.unary_unary_rpc_method_handler(self._reserve)
        self.server.add_registered_method_handlers("shop.Stock", {"Reserve": handler})
        self.channel = hasten.rpc.Channel(f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}")
        self.client: httpx.AsyncClient
        self.app = self._storefront(options)
        self._stack = AsyncExitStack()

    def _storefront(self, options: dict[str, Any]) -> FastAPI:
        app = FastAPI()

        @app.get("/buy/{item}")
        async def buy(item: str) -> str:
            if item == "nothing":
                raise HTTPException(503, "sold out")
            await asyncio.sleep(0)
            self.traceparents.append(hasten.monitor.outgoing_headers().get("traceparent", ""))
            answer: bytes = await self.channel.unary_unary(METHOD)(item.encode(), timeout=10.0)
            return answer.decode()

        watch = (self.channel, self.server)
        return hasten.install(app, service="shop", admin=None, otlp=self.otlp, bus=self.bus, watch=watch, **options)

    async def _reserve(self, request: bytes, context: Any) -> bytes:
        await self.bus.publish(TOPIC, {"item": request.decode()})
        return b"reserved"

    async def _mail(self, reserved: dict[str, str]) -> None:
        if self._handle is not None:
            await self._handle()
        self.handled.set()

    async def __aenter__(self) -> "Shop":
        await self._stack.enter_async_context(living(self.app))
        await self.server.start()
        self._stack.push_async_callback(self.server.stop, None)
        await self._stack.enter_async_context(self.channel)
        transport = httpx.ASGITransport(app=self.app)
        self.client = await self._stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://shop:8000")
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

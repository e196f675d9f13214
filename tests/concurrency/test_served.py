"""A watch over a service that real uvicorn serves: what the service does as it should is no stray."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from math import inf

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from hasten.cache import Cache
from hasten.concurrency import Background, TaskWatch, ThreadPool, gather, map_concurrent
from hasten.events import Bus
from tests.concurrency.gates import Gate, begun
from tests.conftest import LoopFactory
from tests.ledger.serving import serving


class Service:
    """An app whose every way to wait leads to one gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.thread_gate = Gate()
        self.background = Background()
        self.pool = ThreadPool("files", 2)
        self.arrived = 0
        self.app = FastAPI()
        self.app.add_middleware(BaseHTTPMiddleware, dispatch=self.middleware)

        @Cache().cached(ttl=60.0)
        async def load() -> int:
            return await self.wait()

        self.app.add_api_route("/cached", load)
        self.app.add_api_route("/stream", self.stream, response_model=None)
        self.app.add_api_route("/gathered", self.gathered)
        self.app.add_api_route("/kept", self.kept)
        self.app.add_api_route("/thread", self.thread)
        self.app.add_api_route("/def", self.sync)
        self.app.add_api_route("/lost", self.lost)

    async def wait(self, number: int = 0) -> int:
        self.arrived += 1
        await self.gate.wait()
        return number

    async def middleware(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    async def stream(self) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await self.wait()
            yield b"two"

        return StreamingResponse(parts(), background=BackgroundTask(self.wait))

    async def gathered(self) -> list[int]:
        async with asyncio.timeout(60):
            await gather(self.wait(), self.wait())
        return await map_concurrent(self.wait, range(3), limit=2)

    async def kept(self) -> None:
        self.background.keep(self.wait())

    async def thread(self) -> None:
        await self.pool.run(self.thread_gate.pass_through)

    def sync(self) -> int:
        return 1

    async def lost(self) -> None:
        asyncio.get_running_loop().create_task(self.wait())

    async def open(self) -> None:
        self.gate.set()
        self.thread_gate.open()


def look_often(watch: TaskWatch) -> list[tuple[str, str]]:
    """Look as often as a minute of waiting would."""
    for _ in range(6):
        watch._look()
    return [(stray.kind, stray.site.rpartition(" ")[2]) for stray in watch.strays()]


@pytest.mark.parametrize("sample_every", [1, 1_000_000], ids=["recorded", "unrecorded"])
def test_a_service_has_no_strays(sample_every: int, loop_factory: LoopFactory) -> None:
    """While requests wait in every usual way nothing is reported but the one task that nobody holds."""
    watch = TaskWatch(3600.0, origins=inf)

    async def main() -> None:
        service, bus = Service(), Bus("memory://")
        lives = [watch, service.background, service.pool, bus]
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(
                serving(service.app, bus=lives, admin=None, sample_every=sample_every, detail=False)
            )
            paths = ("/cached", "/cached", "/stream", "/gathered", "/kept", "/thread", "/def")
            asking = asyncio.create_task(served.ask(*paths))
            stack.push_async_callback(service.open)
            await begun(service.thread_gate)
            while service.arrived < 5:
                await asyncio.sleep(0)
            assert look_often(watch) == []
            await served.ask("/lost")
            assert look_often(watch) == [("unheld", "lost")]
            await service.open()
            assert all(b" 200 OK" in answer for answer in await asking)
        assert [stray.kind for stray in watch.strays()] == ["unheld"]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())

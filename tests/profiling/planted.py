"""A service whose hotspots, blocking calls and waits are planted, and which measures itself what they take."""

import asyncio
import http.server
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import requests
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from hasten.concurrency import ThreadPool, gather

CPU: dict[str, float] = {}
"""CPU seconds of each planted hotspot so far, by the clock of its thread."""


def price() -> None:
    started, used, number = time.thread_time(), 0.0, 1
    while used < 0.006:
        for _ in range(200):
            number = number * 3 % 7919
        used = time.thread_time() - started
    CPU["price"] = CPU.get("price", 0.0) + used


def stock() -> None:
    started, used, number = time.thread_time(), 0.0, 1
    while used < 0.003:
        for _ in range(200):
            number = number * 5 % 7919
        used = time.thread_time() - started
    CPU["stock"] = CPU.get("stock", 0.0) + used


def render() -> None:
    started, used, number = time.thread_time(), 0.0, 1
    while used < 0.001:
        for _ in range(200):
            number = number * 7 % 7919
        used = time.thread_time() - started
    CPU["render"] = CPU.get("render", 0.0) + used


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def repository(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def service(seconds: float) -> None:
    await repository(seconds)


async def child(seconds: float) -> None:
    await service(seconds)


def planted(upstream: str = "") -> FastAPI:
    """Return the app; `upstream` is a URL that answers slowly, for the blocking client."""
    # Over 40 lines because each of the small functions within is a case, and shares what is around it.
    app = FastAPI()

    @app.get("/mixed")
    async def mixed() -> int:
        price()
        await service(0.002)
        stock()
        render()
        return 1

    @app.get("/apart/{number}")
    async def apart(number: int) -> int:
        if number % 2:
            price()
        else:
            stock()
        render()
        return number

    @app.get("/slept")
    async def slept() -> int:
        time.sleep(0.03)
        return 1

    @app.get("/napped")
    async def napped() -> int:
        time.sleep(0.002)
        return 1

    @app.get("/fetched")
    async def fetched() -> int:
        return requests.get(upstream, timeout=10).status_code

    @app.get("/waited")
    async def waited() -> int:
        await service(0.02)
        return 1

    @app.get("/gathered")
    async def gathered() -> int:
        await asyncio.gather(child(0.02), child(0.01))
        return 1

    @app.get("/eager")
    async def eager() -> int:
        async def at_once() -> None:
            spin(0.02)
            await asyncio.sleep(0.001)

        await asyncio.Task(at_once(), loop=asyncio.get_running_loop(), eager_start=True)  # type: ignore[call-arg, unused-ignore]
        return 1

    @app.get("/grouped")
    async def grouped() -> int:
        async with asyncio.TaskGroup() as group:
            group.create_task(child(0.02))
            group.create_task(child(0.01))
        return 1

    @app.get("/streamed")
    async def streamed() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                await service(0.01)
                yield b"part"

        return StreamingResponse(parts())

    @app.get("/threaded")
    def threaded() -> int:
        price()
        return 1

    @app.get("/pooled")
    async def pooled() -> int:
        async with ThreadPool("pool", 2) as pool:
            await gather(pool.run(price), pool.run(price))
        return 1

    @app.get("/held/{seconds}")
    async def held(seconds: float) -> int:
        time.sleep(seconds)
        return 1

    @app.get("/spun/{seconds}")
    async def spun(seconds: float) -> int:
        spin(seconds)
        return 1

    return app


class _Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        time.sleep(0.03)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow_upstream() -> Iterator[str]:
    """Serve something that takes 30 ms, in a thread; yield its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

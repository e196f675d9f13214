"""Endpoints whose time is known: each spends it in one way."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from starlette.requests import Request
from starlette.responses import Response

from hasten.concurrency import ThreadPool, gather
from hasten.resilience import DeadlineExceeded, deadline

LOCK = asyncio.Lock


async def answer(delay: float) -> float:
    await asyncio.sleep(delay)
    return delay


def make_app() -> FastAPI:
    """Return a new app; loops and locks are made per app."""
    app = FastAPI()
    app.state.lock = None
    add_waits(app)
    add_tasks(app)
    add_threads(app)
    add_holds(app)
    return app


def with_middleware(app: FastAPI) -> FastAPI:
    """Put a function middleware (BaseHTTPMiddleware) around the app."""

    @app.middleware("http")
    async def mark(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response

    return app


def add_waits(app: FastAPI) -> None:
    # Over 40 lines because each of the small functions within is a case, and shares what is around it.
    @app.get("/fast")
    async def fast() -> dict[str, int]:
        return {"answer": 1}

    @app.get("/items/{item}")
    async def item(item: int) -> int:
        await answer(0.01)
        return item

    @app.get("/sequence")
    async def sequence() -> int:
        for _ in range(3):
            await answer(0.01)
        return 1

    @app.get("/generators")
    async def generators() -> int:
        async for _ in numbers():
            pass
        async with asyncio.timeout(1):
            await asyncio.wait_for(asyncio.sleep(0.01), 1)
        return 1

    @app.get("/expired")
    async def expired() -> int:
        try:
            await asyncio.wait_for(asyncio.sleep(5), 0.02)
        except TimeoutError:
            return 1
        return 0

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(chunks())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> int:
        tasks.add_task(answer, 0.03)
        await answer(0.01)
        return 1

    @app.get("/yields")
    async def yields() -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return 1

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text("hello")
        await connection.close()


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(0.01)
        yield number


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0.01)
        yield b"chunk"


def add_tasks(app: FastAPI) -> None:
    # Over 40 lines because each of the small functions within is a case, and shares what is around it.
    @app.get("/gather")
    async def gather() -> int:
        await asyncio.gather(answer(0.01), slowest(0.03))
        return 1

    @app.get("/group")
    async def group() -> int:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer(0.01))
            tasks.create_task(slowest(0.03))
        return 1

    @app.get("/anyio-group")
    async def anyio_group() -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer, 0.01)
            tasks.start_soon(slowest, 0.03)
        return 1

    @app.get("/queue")
    async def queue() -> int:
        items: asyncio.Queue[int] = asyncio.Queue()
        producer = asyncio.create_task(produce(items))
        await items.get()
        await producer
        return 1

    @app.get("/stream-between")
    async def stream_between() -> int:
        send, receive = anyio.create_memory_object_stream[int](0)
        async with anyio.create_task_group() as tasks, send, receive:
            tasks.start_soon(produce_into, send)
            await receive.receive()
        return 1

    @app.get("/lock")
    async def lock() -> int:
        app.state.lock = app.state.lock or asyncio.Lock()
        async with app.state.lock:
            await answer(0.02)
        return 1

    @app.get("/forgotten")
    async def forgotten() -> int:
        app.state.forgotten = asyncio.create_task(answer(0.05))
        await answer(0.01)
        return 1


async def slowest(delay: float) -> float:
    await asyncio.sleep(delay)
    return delay


async def produce(items: "asyncio.Queue[int]") -> None:
    await answer(0.02)
    await items.put(1)


async def produce_into(send: Any) -> None:
    await answer(0.02)
    await send.send(1)


def sync_dependency() -> int:
    time.sleep(0.01)
    return 1


def sync_resource() -> Iterator[int]:
    time.sleep(0.01)
    yield 1


def add_threads(app: FastAPI) -> None:
    # Over 40 lines because each of the small functions within is a case, and shares what is around it.
    @app.get("/thread")
    def thread() -> int:
        time.sleep(0.02)
        return 1

    @app.get("/dependency")
    async def dependency(value: int = Depends(sync_dependency)) -> int:
        return value

    @app.get("/resource")
    async def resource(value: int = Depends(sync_resource)) -> int:
        return value

    @app.get("/executor")
    async def executor() -> int:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.02)
        await asyncio.to_thread(sync_dependency)
        return 1

    @app.get("/anyio-threads")
    async def anyio_threads() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, sync_dependency)
        return 1

    @app.get("/pool")
    async def pool() -> int:
        async with ThreadPool("pool", 1) as threads:
            return await threads.run(sync_dependency)

    @app.get("/pool-tasks")
    async def pool_tasks() -> int:
        async with ThreadPool("pool", 1) as threads:  # calls that are made here, and awaited by tasks
            first, second = await gather(threads.run(sync_dependency), threads.run(sync_dependency))
            return first + second

    @app.get("/pool-expired")
    async def pool_expired() -> int:
        async with ThreadPool("pool", 1) as threads, asyncio.TaskGroup() as group:
            group.create_task(threads.run(time.sleep, 0.05))
            await asyncio.sleep(0)
            try:
                async with deadline(0.02):
                    return await threads.run(sync_dependency)
            except DeadlineExceeded:
                return 0


def spin(seconds: float) -> int:
    end = time.thread_time() + seconds
    count = 0
    while time.thread_time() < end:
        count += 1
    return count


def hold() -> None:
    time.sleep(0.1)


def add_holds(app: FastAPI) -> None:
    @app.get("/blocking")
    async def blocking() -> int:
        time.sleep(0.06)
        return 1

    @app.get("/computing")
    async def computing() -> int:
        return spin(0.06)

    @app.get("/both")
    async def both() -> int:
        time.sleep(0.1)
        return spin(0.1)

    @app.get("/callback")
    async def callback() -> int:
        asyncio.get_running_loop().call_later(0.01, hold)
        await answer(0.02)
        return 1

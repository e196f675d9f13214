"""A FastAPI app behind the cache, served by uvicorn and asked by httpx."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import StreamingResponse
from starlette.middleware.base import RequestResponseEndpoint

from hasten.cache import Cache
from hasten.http import ResponseCache, Rule
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.ledger.serving import uvicorn_serving

PAGE = Rule("/page", ttl=60)


class Shop:
    """A small shop.

    Attributes:
      calls: How often each route ran.
      stock: What there is of each product.
    """

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.stock = {1: 10, 2: 20}
        self.done: list[int] = []

    def count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1


def shop_app(shop: Shop, cache: Cache) -> FastAPI:
    app = FastAPI()

    @app.get("/products/{number}")
    async def product(number: int, tasks: BackgroundTasks) -> dict[str, int]:
        await asyncio.sleep(0)
        if number not in shop.stock:
            raise HTTPException(404)
        shop.count("product")
        tasks.add_task(shop.done.append, number)
        return {"number": number, "stock": shop.stock[number]}

    async def committed(number: int) -> AsyncIterator[dict[int, int]]:
        changes: dict[int, int] = {}
        yield changes
        shop.stock.update(changes)

    @app.put("/products/{number}")
    async def change(number: int, stock: int, changes: Annotated[dict[int, int], Depends(committed)]) -> None:
        changes[number] = stock

    @app.get("/me")
    async def me(authorization: Annotated[str, Header()]) -> str:
        return authorization

    @app.get("/export")
    async def export() -> StreamingResponse:
        shop.count("export")
        lines: Iterator[str] = (f"line {number}\n" for number in range(200))
        return StreamingResponse(lines, media_type="text/plain")

    app.add_middleware(GZipMiddleware, minimum_size=200)
    app.add_middleware(
        ResponseCache,
        cache=cache,
        rules=[
            Rule("/products/{number}", ttl=60, tags=("product:{number}",)),
            Rule("/me", ttl=60),
            Rule("/export", ttl=60),
        ],
    )
    return app


def test_a_shop(loop_factory: LoopFactory) -> None:
    """Hits, conditions, HEAD, changes, streams, compression and errors are right on the wire."""

    async def scenario() -> None:
        shop, cache = Shop(), Cache()
        async with (
            uvicorn_serving(shop_app(shop, cache)) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"accept-encoding": "gzip"}) as client,
        ):
            answers = await asyncio.gather(*[client.get("/products/1") for _ in range(8)])
            assert {answer.text for answer in answers} == {'{"number":1,"stock":10}'}
            hit = await client.get("/products/1")
            assert (hit.headers["x-cache"], hit.headers["age"]) == ("hit", "0")

            assert (await client.get("/products/1", headers={"if-none-match": hit.headers["etag"]})).status_code == 304
            head = await client.head("/products/1")
            assert (head.status_code, head.content, head.headers["x-cache"]) == (200, b"", "hit")
            assert head.headers["content-length"] == hit.headers["content-length"]

            assert (await client.put("/products/1", params={"stock": 9})).status_code == 200
            assert (await client.get("/products/1")).json() == {"number": 1, "stock": 9}
            await cache.invalidate_tags("product:1")
            assert (await client.get("/products/1")).headers["x-cache"] == "miss"
            assert [(await client.get("/products/3")).status_code for _ in range(2)] == [404, 404]

            asked = [await client.get("/me", headers={"authorization": who}) for who in ("alice", "bob")]
            assert [answer.json() for answer in asked] == ["alice", "bob"]

            exports = [await client.get("/export") for _ in range(3)]
            plain = await client.get("/export", headers={"accept-encoding": "identity"})
            assert {answer.text for answer in (*exports, plain)} == {plain.text}
            assert [answer.headers["x-cache"] for answer in (*exports, plain)] == ["miss", "miss", "hit", "miss"]
            assert exports[2].headers["content-encoding"] == "gzip"
            assert exports[2].headers["etag"] != plain.headers.get("etag")
        assert shop.done == [1] * shop.calls["product"]  # background tasks ran, once for each run of the app
        await cache.aclose()

    run(loop_factory, scenario())


@asynccontextmanager
async def visiting(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with uvicorn_serving(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


def page_app() -> FastAPI:
    app = FastAPI()

    @app.get("/page")
    async def page() -> str:
        return "page"

    return app


def middleware(cache: Cache) -> FastAPI:
    """Return an app with the cache among its middleware, and CORS before it."""
    app = page_app()
    app.add_middleware(ResponseCache, cache=cache, rules=[PAGE])
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example", "https://b.example"])
    return app


def around(cache: Cache) -> ResponseCache:
    """Return an app behind the cache, with CORS behind it, too."""
    app = page_app()
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example", "https://b.example"])
    return ResponseCache(app, cache=cache, rules=[PAGE])


@pytest.mark.parametrize("make", [middleware, around])
def test_cors(loop_factory: LoopFactory, make: Callable[[Cache], Any]) -> None:
    """Each origin may read its response, and none gets another one's permission, on whichever side CORS stands."""

    async def scenario() -> None:
        cache = Cache()
        async with visiting(make(cache)) as client:
            for _ in range(3):
                for origin in (None, "https://a.example", "https://b.example", "https://evil.example"):
                    answer = await client.get("/page", headers={} if origin is None else {"origin": origin})
                    allowed = origin if origin != "https://evil.example" else None
                    assert answer.headers.get("access-control-allow-origin") == allowed
            assert answer.headers["x-cache"] == "hit"
        await cache.aclose()

    run(loop_factory, scenario())


def test_who_may_not_is_stopped_before(loop_factory: LoopFactory) -> None:
    """A layer outside of the cache decides about every request, for which there is a response or not."""

    async def scenario() -> None:
        cache, app = Cache(), page_app()
        app.add_middleware(ResponseCache, cache=cache, rules=[PAGE])

        @app.middleware("http")
        async def check_key(request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request) if "x-api-key" in request.headers else Response(status_code=401)

        async with visiting(app) as client:
            answers = [await client.get("/page", headers=headers) for headers in ({"x-api-key": "1"}, {}) * 2]
            assert [answer.status_code for answer in answers] == [200, 401, 200, 401]
            assert answers[2].headers["x-cache"] == "hit"
        await cache.aclose()

    run(loop_factory, scenario())


def test_around_the_app(loop_factory: LoopFactory) -> None:
    """Around an app the cache changes neither its lifespan nor its errors, and serves what is stale in their place."""

    async def scenario() -> None:
        cache, begun, told = Cache(), [], []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(str(context["exception"])))

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            begun.append(app)
            yield

        app = FastAPI(lifespan=lifespan)

        @app.get("/{name}")
        async def broken(name: str) -> str:
            if begun:
                begun.clear()
                return name
            raise ValueError(f"no {name}")

        async with visiting(
            ResponseCache(app, cache=cache, rules=[Rule("/page", ttl=0.01, stale_if_error=60), Rule("/{name}", ttl=1)])
        ) as client:
            assert (await client.get("/page")).headers["x-cache"] == "miss"
            failed = await client.get("/other")
            assert (failed.status_code, failed.text) == (500, "Internal Server Error")
            while (late := await client.get("/page")).headers["x-cache"] == "hit":
                pass
            assert (late.status_code, late.json(), late.headers["x-cache"]) == (200, "page", "stale")
            while not told:
                await asyncio.sleep(0)
            assert told == ["no page"]
        await cache.aclose()

    run(loop_factory, scenario())

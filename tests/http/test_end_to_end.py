"""A FastAPI app behind the cache, served by uvicorn and asked by httpx."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import StreamingResponse

from hasten.cache import Cache
from hasten.http import ResponseCache, Rule
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.ledger.serving import uvicorn_serving


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

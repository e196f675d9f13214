"""The service under measurement: `python -m benchmarks.response_cache._apps SUBJECT`.

All answer `/items/{number}` with the same document; `/loads` says how often it was made. The handler is cheap, so the
caches have little to save but the framework's own work. Each subject is set up as its documentation says.
"""

import sys
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from benchmarks._child import die_with_parent
from benchmarks.response_cache._server import serve
from benchmarks.response_cache._work import CONNECTIONS, FIRST, TTL, document, path_of


class Widget(BaseModel):
    """Part of a document."""

    id: int
    name: str
    price: float
    tags: list[str]
    about: str


class Document(BaseModel):
    """What a route returns and FastAPI makes JSON of."""

    number: int
    owner: str
    widgets: list[Widget]
    ok: bool


class _Handlers:
    """The routes, and the count of documents made."""

    def __init__(self) -> None:
        self.loads = 0

    async def item(self, number: int) -> Document:
        self.loads += 1
        return Document(**document(number))

    async def count(self) -> PlainTextResponse:
        return PlainTextResponse(str(self.loads))


def _app(decorate: Callable[[Any], Any] = lambda route: route) -> FastAPI:
    """Return a FastAPI app whose route is decorated."""
    handlers, app = _Handlers(), FastAPI()

    async def item(number: int) -> Document:
        return await handlers.item(number)

    app.get("/items/{number}")(decorate(item))
    app.get("/loads")(handlers.count)
    return app


def bare() -> Any:
    """Return an ASGI app that has every answer ready."""
    answers = {path_of(n): msgspec.json.encode(document(n)) for n in range(FIRST, FIRST + CONNECTIONS)}
    messages = {path: _messages(b"application/json", body) for path, body in answers.items()}
    messages["/loads"] = _messages(b"text/plain", b"0")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        start, body = messages[scope["path"]]
        await send(start)
        await send(body)

    return app


def _messages(kind: bytes, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", kind)]
    return {"type": "http.response.start", "status": 200, "headers": headers}, {
        "type": "http.response.body",
        "body": body,
    }


def fastapi() -> Any:
    """Return the app without a cache."""
    return _app()


def hasten() -> Any:
    """Return it with our response cache as its middleware, in memory; Starlette puts one of its own before it."""
    from hasten.cache import Cache
    from hasten.http import ResponseCache, Rule

    app = _app()
    app.add_middleware(ResponseCache, cache=Cache("memory://"), rules=[Rule("/items/{number}", ttl=TTL)])
    return app


def hasten_outermost() -> Any:
    """Return it behind our response cache, with nothing before that."""
    from hasten.cache import Cache
    from hasten.http import ResponseCache, Rule

    return ResponseCache(_app(), cache=Cache("memory://"), rules=[Rule("/items/{number}", ttl=TTL)])


def hasten_run() -> Any:
    """Return that with ledger and monitor outside, as `hasten run` serves it, but for the admin port."""
    import hasten

    return hasten.install(hasten_outermost(), service="response-cache", admin=None)


def litestar() -> Any:
    """Return Litestar with its response cache in memory; its own way to write the service."""
    from litestar import Litestar, get

    handlers = _Handlers()

    @get("/items/{number:int}", cache=TTL)
    async def item(number: int) -> Document:
        return await handlers.item(number)

    @get("/loads", media_type="text/plain")
    async def loads() -> str:
        return str(handlers.loads)

    return Litestar([item, loads], openapi_config=None)


def fastapi_cache2() -> Any:
    """Return the app with fastapi-cache2's decorator, in memory."""
    from fastapi_cache import FastAPICache
    from fastapi_cache.backends.inmemory import InMemoryBackend
    from fastapi_cache.decorator import cache

    FastAPICache.init(InMemoryBackend(), prefix="fc")
    return _app(cache(expire=TTL))


def _cashews() -> Any:
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")
    return cache


def cashews() -> Any:
    """Return the app with cashews' decorator alone, in memory."""
    return _app(_cashews()(ttl=TTL, key="item:{number}"))


def cashews_middlewares() -> Any:
    """Return it with the two middlewares that make it a cache of HTTP: Cache-Control and ETag."""
    from cashews.contrib.fastapi import CacheEtagMiddleware, CacheRequestControlMiddleware

    cache = _cashews()
    app = _app(cache(ttl=TTL, key="item:{number}"))
    app.add_middleware(CacheEtagMiddleware, cache_instance=cache)
    app.add_middleware(CacheRequestControlMiddleware, cache_instance=cache)
    return app


APPS: dict[str, Callable[[], Any]] = {
    "bare": bare,
    "bare-protocol": bare,
    "fastapi": fastapi,
    "hasten": hasten,
    "hasten-outer": hasten_outermost,
    "hasten-protocol": hasten_outermost,
    "hasten-run": hasten_run,
    "litestar": litestar,
    "fastapi-cache2": fastapi_cache2,
    "cashews": cashews,
    "cashews-http": cashews_middlewares,
}
UNDER_OUR_PROTOCOL = ("bare-protocol", "hasten-protocol", "hasten-run")


def _protocol(subject: str) -> Any:
    """Return the protocol that a subject is served by; None for uvicorn's own."""
    if subject not in UNDER_OUR_PROTOCOL:
        return None
    from hasten.http import HttpProtocol

    return HttpProtocol


if __name__ == "__main__":
    die_with_parent()
    serve(APPS[sys.argv[1]](), _protocol(sys.argv[1]))

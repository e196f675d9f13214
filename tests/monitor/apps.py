"""A small app under a monitor, and one request to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from fastapi import FastAPI

import hasten

Endpoint = Callable[[], Awaitable[Any]]


def app_of(endpoint: Endpoint, **options: Any) -> FastAPI:
    """Return an app that answers `/items/{item}` with what `endpoint` returns, without an admin port."""
    app = FastAPI()

    @app.get("/items/{item}")
    async def answer(item: str) -> Any:
        return await endpoint()

    return hasten.install(app, service="shop", admin=None, **options)


def answered(endpoint: Endpoint, headers: Mapping[str, str], path: str = "/items/7") -> Any:
    """Return what an app answers to a request with these fields."""

    async def scenario() -> Any:
        transport = httpx.ASGITransport(app=app_of(endpoint))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.get(path, headers=headers)).raise_for_status().json()

    return asyncio.run(scenario())

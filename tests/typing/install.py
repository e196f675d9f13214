"""How a type checker sees what lives with an app; checked by mypy, never run."""

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, assert_type

from fastapi import FastAPI

import hasten
from hasten.events import Bus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def pool() -> "AsyncIterator[int]":
    yield 1


app = FastAPI()
assert_type(hasten.install(app, bus=Bus("memory://")), FastAPI)
hasten.install(app, bus=[Bus("memory://"), pool()], service="shop")
hasten.install(app, bus=(Bus("memory://"),))
hasten.install(app, bus="memory://")  # type: ignore[arg-type]
hasten.install(app, bus=pool)  # type: ignore[arg-type]

"""How a type checker sees thread pools, gathered calls, background tasks and watches; checked by mypy, never run."""

import asyncio
from typing import assert_type

import hasten
from hasten.concurrency import (
    Background,
    GcPolicy,
    Stray,
    SyncEndpoints,
    TaskWatch,
    ThreadPool,
    ThreadPoolStatistics,
    ThreadWork,
    gather,
    map_concurrent,
)

images = ThreadPool("images", 4, queue=20)
ThreadPool("images", 4, 20)  # type: ignore[call-arg]


def resize(picture: bytes, *, width: int) -> bytes:
    return picture[:width]


@images.wrap
def thumbnail(picture: bytes, *, width: int = 200) -> bytes:
    return resize(picture, width=width)


async def level(item: int) -> float:
    return 1.0


async def name(item: int) -> str:
    return "chair"


async def threads() -> None:
    assert_type(await images.run(resize, b"", width=200), bytes)
    await images.run(resize, b"", width="200")  # type: ignore[arg-type]
    await images.run(resize, b"")  # type: ignore[call-arg]
    assert_type(await thumbnail(b"", width=7), bytes)
    await thumbnail("")  # type: ignore[arg-type]
    assert_type(images.statistics(), ThreadPoolStatistics)
    async with images as pool:
        assert_type(pool, ThreadPool)


async def calls() -> None:
    assert_type(await gather(level(1)), tuple[float])
    assert_type(await gather(level(1), name(2), limit=1), tuple[float, str])
    assert_type(await gather(level(1), name(2), level(3), timeout=0.2), tuple[float, str, float])
    assert_type(await gather(*map(level, range(9)), limit=3), tuple[float, ...])
    assert_type(asyncio.create_task(gather(level(1), name(2))), asyncio.Task[tuple[float, str]])
    assert_type(await map_concurrent(level, range(9), limit=3), list[float])
    await map_concurrent(level, ["9"], limit=3)  # type: ignore[arg-type]
    await map_concurrent(level, range(9))  # type: ignore[call-arg]


def heard(record: ThreadWork) -> None:
    assert_type(record.waited, float)


async def watched() -> None:
    images.add_hook(heard)
    background, watch = Background(100), TaskWatch(5.0, origins=0)
    watch.add_hook(heard)  # type: ignore[arg-type]
    assert_type(background.keep(level(1)), asyncio.Task[float])
    background.keep(level)  # type: ignore[arg-type]
    assert_type(watch.strays(), tuple[Stray, ...])
    hasten.install(object(), bus=[images, background, watch, GcPolicy(warm_up=60), SyncEndpoints(100)])
    with GcPolicy() as policy:
        assert_type(policy, GcPolicy)

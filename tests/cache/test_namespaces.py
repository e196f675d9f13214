"""Caches of two namespaces in one second tier: what one does, the other does not see."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from hasten.cache import Cache, Policy, codec_for
from hasten.cache.backplanes import memory_backplanes
from tests.cache.running import run
from tests.conftest import LoopFactory

Open = Callable[[str], AbstractAsyncContextManager[Cache]]


def plain_text(key: object) -> str:
    """Return a key of the second tier that has no namespace of its own."""
    return f"text:{key}"


@pytest.fixture(params=["redis_url", "redis_cluster_url", "memcached_url"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Return what makes a cache of a namespace on a server, with an empty memory; once per kind of server."""
    url = request.getfixturevalue(request.param)

    @asynccontextmanager
    async def opened(namespace: str) -> AsyncIterator[Cache]:
        # A backplane of its own: of others' changes it knows what the second tier says.
        (alone,) = memory_backplanes(1)
        cache = Cache("memory://", url, backplane=alone, namespace=namespace, timeout=5.0, on_error="raise")
        try:
            yield cache
        finally:
            await cache.aclose()

    return opened


@pytest.mark.parametrize("form", ["{}", "{}50%", "{}%s%d", "{} two words", "{}ä€", "{}:a:b", "{}" + "x" * 300])
def test_any_printable_namespace(form: str, opened: Open, loop_factory: LoopFactory) -> None:
    """A value is found again by another cache of the namespace, until its tag is invalidated."""
    namespace = form.format(uuid.uuid4().hex[:8])

    async def scenario() -> None:
        async with opened(namespace) as one, opened(namespace) as other, opened(namespace) as third:
            assert await one.set("key", 1, ttl=60, tags=["tag"])
            assert await other.get("key") == 1
            assert await other.invalidate_tags("tag")
            assert await third.get("key") is None

    run(loop_factory, scenario())


def test_tags_of_another_namespace(opened: Open, loop_factory: LoopFactory) -> None:
    """A tag that is invalidated in one namespace leaves the other's values valid in the second tier."""
    ours, theirs = uuid.uuid4().hex, uuid.uuid4().hex

    async def scenario() -> None:
        async with opened(ours) as one, opened(ours) as other, opened(theirs) as stranger:
            assert await one.set("key", 1, ttl=60, tags=["tag"])
            assert await stranger.invalidate_tags("tag")
            assert await other.get("key") == 1

    run(loop_factory, scenario())


def test_keys_of_ones_own(opened: Open, loop_factory: LoopFactory) -> None:
    """Keys that a region's `text_of` makes are apart by the namespace, too."""
    ours, theirs = uuid.uuid4().hex, uuid.uuid4().hex

    async def scenario() -> None:
        async with opened(ours) as one, opened(ours) as other, opened(theirs) as stranger:
            mine, again, foreign = (
                cache.region("own", Policy(ttl=60.0), codec=codec_for(int), text_of=plain_text)
                for cache in (one, other, stranger)
            )
            await mine.store("key", 1)
            assert await foreign.get("key") is None
            await foreign.invalidate("key")
            assert await again.get("key") == 1

    run(loop_factory, scenario())

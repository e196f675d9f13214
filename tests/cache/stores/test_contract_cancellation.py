"""Second tiers whose callers are cancelled: the others get their own answers, and no key stays leased."""

import asyncio
import random

import pytest

from tests.cache.stores.conftest import Run, Stores

LONG = 60.0
PATIENCE = 10.0


def test_cancelled_readers_harm_nobody(stores: Stores, run: Run) -> None:
    """Of 1,000 readers some are cancelled at any moment; each of the others gets its own key's value."""

    async def scenario() -> None:
        store, chance = stores(), random.Random(6)
        values = {f"k{n}": b"%d|" % n * chance.randrange(1, 2000) for n in range(100)}
        await asyncio.gather(*(store.write(key, value, LONG) for key, value in values.items()))
        for passes in range(10):
            asked = [chance.choice(list(values)) for _ in range(100)]
            tasks = [asyncio.ensure_future(store.read(key, ["tag"])) for key in asked]
            for _ in range(passes):
                await asyncio.sleep(0)
            for task in chance.sample(tasks, 50):
                task.cancel()
            reads = await asyncio.gather(*tasks, return_exceptions=True)
            for key, read in zip(asked, reads, strict=True):
                if not isinstance(read, BaseException):
                    assert read.payload == values[key]
                else:
                    assert isinstance(read, asyncio.CancelledError)

    run(scenario)


@pytest.mark.parametrize("passes", range(8))
def test_cancelled_commands_leave_the_connection_fit(stores: Stores, run: Run, passes: int) -> None:
    """Every kind of command may be cancelled after any number of passes; what is asked then gets its own answer."""

    async def scenario() -> None:
        store = stores()
        await store.write("key", b"value", LONG)
        tasks = [
            asyncio.ensure_future(coroutine)
            for coroutine in (
                store.read("other", ["tag"]),
                store.lease("third", LONG, ["tag"]),
                store.write("fourth", b"fourth", LONG),
                store.write("fifth", b"fifth", LONG, b"no token"),
                store.release("sixth", b"no token"),
                store.invalidate(["seventh"], ["tag"]),
            )
        ]
        for _ in range(passes):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(5):
            assert (await store.read("key")).payload == b"value"
            assert await store.lease("key", LONG) is not None
            assert await store.lease("key", LONG) is None
            await store.invalidate(["key"])
            assert await store.write("key", b"value", LONG) is True

    run(scenario)


@pytest.mark.parametrize("passes", range(10))
def test_lease_whose_caller_is_cancelled_is_given_back(stores: Stores, run: Run, passes: int) -> None:
    """Whenever the caller is cancelled, the key can be leased soon, long before the lost lease would have ended."""

    async def scenario() -> None:
        store = stores()
        task = asyncio.ensure_future(store.lease("key", LONG, ["tag"]))
        for _ in range(passes):
            await asyncio.sleep(0)
        if not task.cancel():  # it had its answer
            return
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENCE):
            while await store.lease("key", LONG) is None:
                await asyncio.sleep(0.005)

    run(scenario)

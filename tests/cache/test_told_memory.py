"""Caches of memory alone that hear of each other's invalidations: each loads for itself, none serves what is old."""

from contextlib import aclosing

from hasten.cache import Cache
from hasten.cache.backplanes.memory import memory_backplanes
from tests.cache.running import passes, run
from tests.conftest import LoopFactory


class Shelf:
    """A process's cache of one function, whose loads are counted."""

    def __init__(self, cache: Cache) -> None:
        self.loads = 0

        @cache.cached(ttl=60, tags=lambda product: [f"product:{product}"], name="price")
        async def price(product: int) -> int:
            self.loads += 1
            return product

        self.price = price


def test_told(loop_factory: LoopFactory) -> None:
    """What one process makes invalid, by a tag or by its arguments, the other loads anew, and nothing else."""

    async def scenario() -> None:
        planes = memory_backplanes(2, trust_seconds=60.0)
        ours, theirs = (Cache("memory://", backplane=plane) for plane in planes)
        async with aclosing(ours), aclosing(theirs):
            here, there = Shelf(ours), Shelf(theirs)
            assert not ours.has_second
            assert ours.has_backplane
            assert await ours.invalidate_tags("product:9")  # from now on memory takes values
            assert await theirs.invalidate_tags("product:9")
            for _ in range(2):
                assert [await here.price(7), await there.price(7), await there.price(8)] == [7, 7, 8]
            assert (here.loads, there.loads) == (1, 2)
            assert await ours.invalidate_tags("product:7")
            assert [await there.price(7), await there.price(8)] == [7, 8]
            assert there.loads == 3
            assert await here.price.invalidate(8)
            assert [await there.price(7), await there.price(8)] == [7, 8]
            assert there.loads == 4

    run(loop_factory, scenario())


def test_cannot_be_told(loop_factory: LoopFactory) -> None:
    """While the others cannot be told the answer is False and nothing old is served here; they are told later."""

    async def scenario() -> None:
        planes = memory_backplanes(2, trust_seconds=60.0)
        ours, theirs = (Cache("memory://", backplane=plane) for plane in planes)
        async with aclosing(ours), aclosing(theirs):
            here, there = Shelf(ours), Shelf(theirs)
            for cache, shelf in ((ours, here), (theirs, there)):
                await cache.invalidate_tags("product:9")
                await shelf.price(7)
            planes[0].cut_off()
            assert not await ours.invalidate_tags("product:7")
            assert ours.statistics().pending == 1
            await here.price(7)
            assert here.loads == 2
            planes[0].restore()
            while ours.statistics().pending:
                await passes()
            await there.price(7)
            assert there.loads == 2

    run(loop_factory, scenario())

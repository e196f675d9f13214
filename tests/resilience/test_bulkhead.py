"""A bulkhead bounds what is under way, lets some wait in their order, and gives each place back, whatever happens."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from hasten._core.errors import ConfigurationError
from hasten.resilience import Bulkhead, DeadlineExceeded, Refused, deadline
from tests.conftest import LoopFactory


def run(main: Callable[[], Awaitable[None]], loop_factory: LoopFactory | None = None) -> None:
    async def scenario() -> None:
        await main()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


async def turns() -> None:
    """Let whatever can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_at_most_so_many(loop_factory: LoopFactory) -> None:
    """The rest waits in its order, and beyond that is refused."""

    async def main() -> None:
        bulkhead, gates, order = Bulkhead(2, waiting=2, name="stock"), [asyncio.Event() for _ in range(4)], []

        @bulkhead
        async def work(number: int) -> int:
            order.append(number)
            await gates[number].wait()
            return number

        tasks = [asyncio.ensure_future(work(number)) for number in range(4)]
        await turns()
        assert order == [0, 1]
        with pytest.raises(Refused, match="bulkhead stock: 2 are under way, and 2 wait"):
            await work(9)
        gates[1].set()
        await turns()
        assert order == [0, 1, 2]
        for gate in gates:
            gate.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
        counts = bulkhead.statistics()
        assert (counts.in_flight, counts.waiting, counts.admitted, counts.refused) == (0, 0, 4, 1)

    run(main, loop_factory)


def test_an_error_gives_the_place_back() -> None:
    """So does one that nobody expects."""

    async def main() -> None:
        bulkhead = Bulkhead(1)
        for error in (ValueError, asyncio.CancelledError, KeyError):
            with pytest.raises(error):
                async with bulkhead:
                    raise error
        assert bulkhead.statistics().in_flight == 0

    run(main)


def test_who_waits_past_the_deadline_leaves_its_place() -> None:
    """It is told so, and who comes behind it has its turn."""

    async def main() -> None:
        bulkhead = Bulkhead(1, waiting=2)
        async with bulkhead:
            with pytest.raises(DeadlineExceeded):
                async with deadline(0.01), bulkhead:
                    raise AssertionError
            assert bulkhead.statistics().waiting == 0
            task = asyncio.ensure_future(bulkhead.__aenter__())
            await turns()
            assert not task.done()
        await task
        assert bulkhead.statistics().in_flight == 1

    run(main)


def test_cancelled_as_its_turn_comes() -> None:
    """The place goes to the next, at whatever moment it is."""

    async def main() -> None:
        bulkhead = Bulkhead(1, waiting=2)
        await bulkhead.__aenter__()
        first, second = (asyncio.ensure_future(bulkhead.__aenter__()) for _ in range(2))
        await turns()
        await bulkhead.__aexit__(None, None, None)  # the first one's, which does not know it yet
        first.cancel()
        await second
        assert first.cancelled()
        counts = bulkhead.statistics()
        assert (counts.in_flight, counts.waiting) == (1, 0)

    run(main)


@pytest.mark.parametrize("seed", range(20))
def test_random_cancellations(seed: int) -> None:
    """After a thousand of them nothing is held, nobody waits, and at no moment were more under way than may be."""

    async def main() -> None:
        source, bulkhead, under_way = random.Random(seed), Bulkhead(3, waiting=50), 0

        async def work() -> None:
            nonlocal under_way
            async with bulkhead:
                under_way += 1
                assert under_way <= 3
                try:
                    for _ in range(source.randrange(4)):
                        await asyncio.sleep(0)
                finally:
                    under_way -= 1

        tasks: list[asyncio.Future[None]] = []
        for _ in range(1000):
            tasks.append(asyncio.ensure_future(work()))
            if source.random() < 0.5:
                await asyncio.sleep(0)
            if source.random() < 0.4:
                source.choice(tasks).cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in outcomes} <= {type(None), asyncio.CancelledError, Refused}
        counts = bulkhead.statistics()
        assert (counts.in_flight, counts.waiting) == (0, 0)

    run(main)


@pytest.mark.parametrize(("most", "waiting"), [(0, 1), (-1, 0), (1, -1)])
def test_what_is_no_bound(most: int, waiting: int) -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="must be"):
        Bulkhead(most, waiting=waiting)

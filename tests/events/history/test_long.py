"""What is only seen after a long time, or beside other messages."""

import asyncio
import statistics
import subprocess
import sys
import time

import pytest

from hasten.events import Bus, Message, RetryPolicy
from hasten.events._broker import Inspection
from tests.events.brokers.adapter import new_topic
from tests.events.history.conftest import Subject
from tests.events.history.worker import CONCURRENCY, Numbered

pytestmark = pytest.mark.soak
MESSAGES = 1_000_000
MOST_GROWTH_KILOBYTES = 10 * 1024
ROUNDS = 5
EVERY_SECONDS = 0.002  # from one message to the next
SOME = 1_000
POISONED_EVERY = 50


@pytest.mark.timeout(1800)
def test_a_million_messages(broker: Subject) -> None:
    """After the first 100,000 messages the process that publishes and handles them grows by 10 MB at most."""
    arguments = ("-m", "tests.events.history.flow", broker.url, new_topic(), str(MESSAGES))
    began = time.monotonic()
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    sizes = [int(line) for line in done.stdout.split()]
    print(f"\n{broker.name}: {time.monotonic() - began:.0f} s, resident {sizes} kB", file=sys.stderr)
    assert len(sizes) == 10
    assert max(sizes) - sizes[0] <= MOST_GROWTH_KILOBYTES


class Latencies:
    """Messages that come one after the other, some of them poisoned, and how long the others took."""

    def __init__(self, url: str) -> None:
        self.topic = new_topic()
        self.bus = Bus(url)
        self.seconds: list[float] = []
        self.tries: dict[int, int] = {}
        policy = RetryPolicy(5, first=0.01, longest=0.02)

        @self.bus.subscribe(self.topic, group="billing", concurrency=CONCURRENCY, retry=policy)
        async def handle(payload: Numbered, message: Message) -> None:
            if payload.number < 0:
                self.tries[payload.number] = self.tries.get(payload.number, 0) + 1
                raise ValueError("poison")
            self.seconds.append(time.time() - message.time)

    async def measured(self, first: int, *, poisoned: bool) -> float:
        """Return the 99th percentile of what messages took from publishing to their handler, in seconds."""
        self.seconds.clear()
        loop, publishing = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        began = loop.time()
        for number in range(first, first + SOME):
            await asyncio.sleep(began + (number - first) * EVERY_SECONDS - loop.time())
            bad = poisoned and number % POISONED_EVERY == 0
            task = loop.create_task(self.bus.publish(self.topic, Numbered(-number if bad else number)))
            publishing.add(task)
        await asyncio.gather(*publishing)
        wanted = SOME - (SOME // POISONED_EVERY if poisoned else 0)
        while len(self.seconds) < wanted:
            await asyncio.sleep(0.01)
        return statistics.quantiles(self.seconds, n=100)[98]


@pytest.mark.timeout(300)
def test_poison(broker: Subject) -> None:
    """One message in 50 is tried 1 + 5 times and buried; the 99th percentile of the others at most doubles."""

    async def scenario() -> None:
        latencies = Latencies(broker.url)
        found: dict[bool, list[float]] = {False: [], True: []}
        async with latencies.bus as bus:
            await latencies.measured(1, poisoned=True)  # makes the queues of retries
            for each in range(1, 2 * ROUNDS + 1):
                poisoned = each % 2 == 0
                found[poisoned].append(await latencies.measured(each * SOME + 1, poisoned=poisoned))
            buried = (ROUNDS + 1) * SOME // POISONED_EVERY
            assert isinstance(bus.broker, Inspection)
            while (await bus.broker.backlog(latencies.topic, "billing")).dead < buried:
                await asyncio.sleep(0.05)
        assert len(latencies.tries) == buried
        assert set(latencies.tries.values()) == {6}
        without, beside = statistics.median(found[False]), statistics.median(found[True])
        print(
            f"\n{broker.name}: p99 {without * 1e3:.2f} ms, beside poison {beside * 1e3:.2f} ms: "
            f"{beside / without:.2f}x, median of {ROUNDS} rounds each",
            file=sys.stderr,
        )
        assert beside <= 2.0 * without

    asyncio.run(scenario())

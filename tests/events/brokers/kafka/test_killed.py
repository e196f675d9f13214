"""A consumer is killed, or frozen: what it had not handled comes to another, and what was committed does not."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter

from hasten.events import Bus
from hasten.events.brokers.kafka import KafkaBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, Seen, eventually, new_topic, run
from tests.events.brokers.kafka import worker
from tests.events.brokers.kafka.conftest import url_with
from tests.events.brokers.kafka.test_consuming import noting

OPTIONS = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}


async def started(url: str, topic: str) -> asyncio.subprocess.Process:
    """Start a consumer in a process of its own."""
    return await asyncio.create_subprocess_exec(sys.executable, worker.__file__, url, topic, stdout=subprocess.PIPE)


async def lines(process: asyncio.subprocess.Process, count: int) -> list[int]:
    """Return the next numbers that it has handled."""
    assert process.stdout is not None
    async with asyncio.timeout(LONGEST):
        return [int(await process.stdout.readline()) for _ in range(count)]


async def end(process: asyncio.subprocess.Process) -> list[int]:
    """Kill it, and return what it had handled last."""
    assert process.stdout is not None
    process.kill()
    rest = [int(line) for line in (await process.stdout.read()).split()]
    await process.wait()
    return rest


def test_killed_in_the_middle(kafka_url: str) -> None:
    """Nothing is lost, and no more comes again than was not committed, in whatever order it was handled."""

    async def scenario() -> None:
        topic = new_topic()
        url = url_with(kafka_url, **OPTIONS)
        bus = Bus(url)
        async with bus:
            broker = bus.broker
            assert isinstance(broker, KafkaBroker)
            for number in range(300):
                await bus.publish(topic, OrderPaid(number), key=f"k{number % 7}")
            process = await started(url, topic)
            handled = await lines(process, 294)  # all but those that take for ever

            async def committed() -> bool:
                return (await broker.backlog(topic, "billing")).waiting == 6

            await eventually(committed)
            for number in range(300, 340):
                await bus.publish(topic, OrderPaid(number), key=f"k{number % 7}")
            handled += await lines(process, 1)
            handled += await end(process)
            waiting = (await broker.backlog(topic, "billing")).waiting
        second = Bus(url)
        seen: Seen = noting(second, topic)
        async with second:
            await seen.count(waiting)
            await second.publish(topic, OrderPaid(1000))
            await seen.count(waiting + 1)
        again = [order.number for order in seen.payloads]
        assert len(again) == waiting + 1
        assert set(handled) | set(again) == {*range(340), 1000}
        assert max(Counter(handled).values()) == max(Counter(again).values()) == 1
        assert set(range(49, 300, 50)) <= set(again)

    run(scenario())


def test_frozen_for_longer_than_its_session(kafka_url: str) -> None:
    """Others get its partitions; when it wakes it has lost them, settles nothing any more, and joins again."""

    async def scenario() -> None:
        topic, url = new_topic(), url_with(kafka_url, **OPTIONS)
        async with Bus(url) as publisher:
            for number in range(100):
                await publisher.publish(topic, OrderPaid(number), key=f"k{number}")
        bus = Bus(url)
        seen = noting(bus, topic)
        process = await started(url, topic)
        handled = await lines(process, 98)  # two take for ever
        process.send_signal(signal.SIGSTOP)
        last = 100
        async with bus:
            await seen.count(2)
            process.send_signal(signal.SIGCONT)
            awake = asyncio.ensure_future(lines(process, 1))
            while not awake.done():  # until it has got some of the partitions again
                if last % 50 != 49:
                    await bus.publish(topic, OrderPaid(last), key=f"k{last}")
                last += 1
                await asyncio.wait([awake], timeout=0.01)
            handled += await awake
            handled += await end(process)
            expected = {number for number in range(last) if number < 100 or number % 50 != 49}
            while not expected <= {*handled, *(order.number for order in seen.payloads)}:
                await seen.count(len(seen.payloads) + 1)
        assert {49, 99} <= {order.number for order in seen.payloads}

    run(scenario())

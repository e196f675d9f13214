"""20,000 messages while something breaks: none that was confirmed is lost, and each has its effect once."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hasten.events import Bus, PublishTimeout
from hasten.events._envelope import Envelope
from servers import Running, rabbitmqctl
from tests.events.history.conftest import Subject
from tests.events.history.history import COUNT, KEYS, History
from tests.relay import Relay

pytestmark = [pytest.mark.timeout(280), pytest.mark.may_block]
LONGEST = 240.0
DEADLINE = 0.3  # seconds


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario in a loop of its own; one that waits for ever fails."""
    asyncio.run(asyncio.wait_for(scenario, LONGEST))


@asynccontextmanager
async def publishing(history: History, url: str, young: float) -> AsyncIterator[tuple[Bus, "asyncio.Task[None]"]]:
    """Publish all messages beside the block; then wait until they are confirmed, and handled."""
    async with Bus(url, timeout=LONGEST) as bus:
        await asyncio.sleep(young)
        work = asyncio.create_task(history.publish(bus))
        await history.until_confirmed(COUNT // 4)
        yield bus, work
        await work
        await history.until_all_are_handled()


async def come_back(running: Running) -> None:
    """Start a broker that has ended, and return when it answers."""
    running.start()  # in the main thread: the server ends with the thread that started it
    await asyncio.to_thread(running.await_ready)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_broker_ends(how: str, broker: Subject, tmp_path: Path) -> None:
    """SIGTERM or SIGKILL amid publishing; all goes on when it is back, and publishing ends in time meanwhile."""

    async def scenario() -> None:
        history = History(broker.url, tmp_path)
        consumers = await history.consumers()
        async with publishing(history, broker.url, broker.young) as (bus, work):
            await asyncio.to_thread(getattr(broker.running, how))
            assert not work.done()
            await refused_in_time(bus, history)
            await come_back(broker.running)
            seconds = await history.until_all_have_moved()
        await consumers.stop()
        history.check(f"{broker.name} {how}, again after {seconds:.2f} s", most_again=KEYS + broker.in_flight)

    run(scenario())


@pytest.mark.soak
def test_how_soon_consumers_go_on(broker: Subject, tmp_path: Path) -> None:
    """SIGKILL five times: they go on within two seconds when it is back, with Kafka's session beside."""

    async def scenario() -> None:
        history, waits = History(broker.url, tmp_path), list[float]()
        consumers = await history.consumers()
        async with Bus(broker.url, timeout=LONGEST) as bus:
            work = asyncio.create_task(history.publish(bus, 10 * COUNT))
            for _ in range(5):
                await history.until_all_have_moved()
                await asyncio.sleep(broker.young)
                await asyncio.to_thread(broker.running.kill)
                await come_back(broker.running)
                waits.append(await history.until_all_have_moved())
            work.cancel()
        await consumers.kill()
        print(f"\n{broker.name}: again after {', '.join(f'{each:.2f}' for each in waits)} s", file=sys.stderr)
        assert max(waits) <= broker.again_within

    run(scenario())


async def refused_in_time(bus: Bus, history: History, why: str = ".") -> None:
    """Check that publishing ends at its deadline while the broker takes nothing."""
    message = Envelope(topic=history.topic, body=b'{"number":0}', content_type="application/json", id="late-0")
    history.unknown.add(message.id)
    began = time.monotonic()
    with pytest.raises(PublishTimeout, match=why):
        await bus.broker.publish(message, deadline=began + DEADLINE)
    assert DEADLINE <= time.monotonic() - began < DEADLINE + 1.0


def test_a_consumer_is_killed(broker: Subject, tmp_path: Path) -> None:
    """SIGKILL amid handling, three times: what it had is handled by the other one."""

    async def scenario() -> None:
        history = History(broker.url, tmp_path)
        staying, victim = await asyncio.gather(history.consumers(), history.consumers())
        async with publishing(history, broker.url, 0.0):
            for quarter in (1, 2, 3):
                await history.until_confirmed(quarter * COUNT // 4)
                await victim.kill()
                victim = await history.consumers()
        await asyncio.gather(staying.stop(), victim.stop())
        history.check(f"{broker.name}, consumers killed", most_again=3 * broker.in_flight)

    run(scenario())


def test_consumers_come_and_go(broker: Subject, tmp_path: Path) -> None:
    """Three consumers join and leave in turn; who leaves has finished what it had."""

    async def scenario() -> None:
        history = History(broker.url, tmp_path)
        members = [await history.consumers()]
        async with publishing(history, broker.url, 0.0):
            for turn in range(1, 9):
                await history.until_confirmed(COUNT // 4 + turn * COUNT // 12)
                if turn % 4 in {1, 2}:
                    members.append(await history.consumers())
                else:
                    await members.pop(0).stop()
        for each in members:
            await each.stop()
        history.check(f"{broker.name}, three come and go", most_again=0)

    run(scenario())


def test_a_black_hole_before_rabbitmq(rabbitmq: Subject, tmp_path: Path) -> None:
    """Nothing passes and nothing is refused: both sides leave the connection after two heartbeats, and all goes on."""

    async def scenario() -> None:
        parts = urlsplit(rabbitmq.url)
        async with Relay(parts.netloc.rpartition("@")[2]).listening() as relay:
            login = parts.netloc.rpartition("@")[0]
            url = f"amqp://{login}@{relay.address}{parts.path}"
            history = History(url, tmp_path)
            consumers = await history.consumers()
            async with publishing(history, url, rabbitmq.young) as (bus, _):
                relay.freeze()
                await refused_in_time(bus, history)
                await history.until(lambda: not bus.broker.connected)
                relay.thaw()
                seconds = await history.until_all_have_moved()
            await consumers.stop()
        history.check(f"rabbitmq, black hole, again after {seconds:.2f} s", most_again=KEYS + rabbitmq.in_flight)

    run(scenario())


def test_kafka_stands_still(kafka: Subject, tmp_path: Path) -> None:
    """Kafka answers nothing for longer than its members' sessions: publishing ends in time, and all goes on."""

    async def scenario() -> None:
        history = History(kafka.url, tmp_path)
        consumers = await history.consumers()
        async with publishing(history, kafka.url, 0.0) as (bus, _):
            kafka.running.freeze()
            try:
                await refused_in_time(bus, history)
                await history.until(lambda: not bus.broker.connected)
            finally:
                kafka.running.thaw()
            seconds = await history.until_all_have_moved()
        await consumers.stop()
        history.check(f"kafka, stands still, again after {seconds:.2f} s", most_again=KEYS + kafka.in_flight)

    run(scenario())


def test_rabbitmq_is_short_of_memory(rabbitmq: Subject, tmp_path: Path) -> None:
    """Its memory alarm stops who publishes and nobody else: consumers finish what is there."""

    async def scenario() -> None:
        history = History(rabbitmq.url, tmp_path)
        history.gate.clear()  # rabbitmqctl takes seconds
        consumers = await history.consumers()
        async with publishing(history, rabbitmq.url, 0.0) as (bus, work):
            await asyncio.to_thread(rabbitmqctl, rabbitmq.running, "set_vm_memory_high_watermark", "0")
            history.gate.set()
            try:
                await refused_in_time(bus, history, "takes no messages now")
                assert not work.done()
                await history.until_all_are_handled()
            finally:
                await asyncio.to_thread(
                    rabbitmqctl, rabbitmq.running, "set_vm_memory_high_watermark", "absolute", "2GB"
                )
            seconds = await history.until_all_have_moved()
        await consumers.stop()
        history.check(f"rabbitmq, memory alarm, again after {seconds:.2f} s", most_again=0)

    run(scenario())

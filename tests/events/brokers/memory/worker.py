"""A process that publishes and handles, to be killed; what it did stands on its standard output, line by line.

    python -m tests.events.brokers.memory.worker MODE FILE [FIRST...]

    busy    publishes to five keys and by two groups, from the numbers FIRST on, until it is killed
    drain   handles what is there, and ends
    flat    publishes and handles so many messages, and writes its size after the first ones and at the end
    poison  handles one at a time, and is killed by number 13 when it begins it
    full    publishes until the file may not grow, handles all, and goes on when it may again
    burst   publishes until the file may not grow, and is killed

A line is `tried`, `confirmed`, `begun` or `handled`, a topic, a key and a number; those before a kill are all there.
"""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

from hasten.events import BrokerError, Bus, Message, Reject, RetryPolicy
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, eventually

KEYS = 5
AT_ONCE = 8
"""Messages of each group that are under way."""
ORDERS, MAILS = "orders", "mails"


def tell(what: Literal["tried", "confirmed", "begun", "handled"], topic: str, key: str, number: int) -> None:
    """Write a line of the history, which outlives this process."""
    os.write(1, f"{what} {topic} {key} {number}\n".encode())


def die() -> None:
    """Leave without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def consuming(file: str) -> Bus:
    """Return a bus with a group in order, and one whose messages fail, are rejected and delayed."""
    bus = Bus(MemoryBroker(Path(file)))

    @bus.subscribe(ORDERS, group="billing", ordered=True, concurrency=AT_ONCE)
    async def bill(order: OrderPaid, message: Message) -> None:
        tell("begun", ORDERS, message.key, order.number)
        await asyncio.sleep(0)
        tell("handled", ORDERS, message.key, order.number)

    @bus.subscribe(MAILS, group="mail", concurrency=AT_ONCE, retry=RetryPolicy(3, first=0.02, longest=0.1))
    async def mail(order: OrderPaid, message: Message) -> None:
        tell("begun", MAILS, message.key, order.number)
        await asyncio.sleep(0)
        if order.number % 10 == 3 and message.attempt == 1:
            raise ValueError("not at first")
        if order.number % 25 == 7:
            raise Reject("seven")
        tell("handled", MAILS, message.key, order.number)

    return bus


async def publish(bus: Bus, topic: str, key: str, first: int) -> None:
    """Publish to a key, one after the other."""
    for number in count(first):
        delay = 0.05 if topic == MAILS and number % 9 == 4 else 0.0
        tell("tried", topic, key, number)
        await bus.publish(topic, OrderPaid(number), key=key, delay=delay)
        tell("confirmed", topic, key, number)


async def busy(file: str, *first: str) -> None:
    """Publish and handle until the end comes from outside."""
    async with consuming(file) as bus, asyncio.TaskGroup() as group:
        for at, number in enumerate(first):
            group.create_task(publish(bus, ORDERS if at < KEYS else MAILS, f"k{at}", int(number)))


async def drain(file: str) -> None:
    """Handle until nothing is left."""
    bus = consuming(file)
    async with bus:
        await eventually(lambda: is_idle(bus))


async def is_idle(bus: Bus) -> bool:
    """Whether nothing waits, and nothing is under way."""
    assert isinstance(bus.broker, MemoryBroker)
    groups = [group for groups in bus.broker.groups.values() for group in groups.values()]
    return not any(group.count for group in groups) and not any(each.under_way for each in bus._consumers.values())


async def poison(file: str) -> None:
    """Be killed by a message."""
    bus = Bus(MemoryBroker(Path(file)))

    @bus.subscribe(ORDERS, group="billing", concurrency=1)
    async def bill(order: OrderPaid) -> None:
        if order.number == 13:
            die()

    async with bus:
        await asyncio.Event().wait()


async def burst(bus: Bus) -> int:
    """Publish until the file may not grow; return how many were confirmed."""
    may_grow(Path(bus.broker.name.removeprefix("memory ")).stat().st_size + 3_000_000)
    number = 0
    while True:
        try:
            await bus.publish(ORDERS, OrderPaid(number, "x" * 500), key="k0")
        except BrokerError:
            return number
        tell("confirmed", ORDERS, "k0", number)
        number += 1


def may_grow(size_bytes: int) -> None:
    """Let no file of this process be larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


async def burst_and_die(file: str) -> None:
    """Be killed while the disk is full."""
    bus = Bus(MemoryBroker(Path(file)))

    @bus.subscribe(ORDERS, group="billing")
    async def bill(order: OrderPaid) -> None:
        await asyncio.Event().wait()

    async with bus:
        await burst(bus)
        die()


def is_connected(bus: Bus) -> bool:
    """Whether what was written last is on disk; asked again each time."""
    return bus.broker.connected


async def has_written(bus: Bus) -> bool:
    return is_connected(bus)


async def full(file: str) -> None:
    """Go on when there is room."""
    bus, gate = Bus(MemoryBroker(Path(file))), asyncio.Event()
    dead = RetryPolicy(0)

    @bus.subscribe(ORDERS, group="billing", concurrency=AT_ONCE, retry=dead)
    async def bill(order: OrderPaid, message: Message) -> None:
        await gate.wait()
        if order.number % 10 == 3:
            raise ValueError("three")
        tell("handled", ORDERS, message.key, order.number)

    async with bus:
        last = await burst(bus)
        assert not is_connected(bus)
        gate.set()
        async with asyncio.timeout(LONGEST):  # what is handled is noted nowhere, and all the same goes on
            await eventually(lambda: is_idle(bus))
        may_grow(resource.RLIM_INFINITY)
        await eventually(lambda: has_written(bus))  # without anybody asking for it
        for number in range(last, last + 100):
            await bus.publish(ORDERS, OrderPaid(number, "x" * 500), key="k0")
            tell("confirmed", ORDERS, "k0", number)
        assert is_connected(bus)
        await eventually(lambda: is_idle(bus))


async def flat(file: str, messages: str, first: str) -> None:
    """Publish and handle; write how many, and the size of this process after the first messages and at the end."""
    bus = Bus(MemoryBroker(Path(file) if file else None, most_waiting=1000))
    handled, size_bytes, done = 0, 0, asyncio.Event()

    @bus.subscribe(ORDERS, group="billing", concurrency=64)
    async def bill(order: OrderPaid) -> None:
        nonlocal handled, size_bytes
        handled += 1
        if handled == int(first):
            size_bytes = resident_bytes()
        if handled == int(messages):
            done.set()

    async def some(numbers: Iterator[int]) -> None:
        for number in numbers:
            await bus.publish(ORDERS, OrderPaid(number, "x" * 200), key=f"k{number % 100}")

    async with bus:
        numbers = iter(range(int(messages)))
        await asyncio.gather(*(some(numbers) for _ in range(100)))
        await done.wait()
        print(handled, size_bytes, resident_bytes())


def resident_bytes() -> int:
    """Return how much memory this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


MODES: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "busy": busy,
    "drain": drain,
    "flat": flat,
    "poison": poison,
    "burst": burst_and_die,
    "full": full,
}

if __name__ == "__main__":
    asyncio.run(MODES[sys.argv[1]](*sys.argv[2:]))

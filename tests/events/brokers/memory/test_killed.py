"""Whoever is killed, and whenever: what was confirmed is handled, and comes twice only if it was being handled."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest

from hasten.events import Bus, Delivery, Subscription
from hasten.events._broker import Backlog
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, OrderPaid, run
from tests.events.brokers.memory.worker import AT_ONCE, KEYS, MAILS, ORDERS

WORKER = "tests.events.brokers.memory.worker"


async def history_of(mode: str, file: Path, *first: int, lines: int | None = None) -> tuple[list[list[str]], int]:
    """Run a worker, and kill it after so many lines; return all that it wrote, and its exit code."""
    arguments = ["-m", WORKER, mode, str(file), *map(str, first)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=PIPE)
    assert process.stdout is not None
    text = b""
    async with asyncio.timeout(LONGEST):
        if lines is not None:
            for _ in range(lines):
                text += await process.stdout.readline()
            process.kill()
        text += await process.stdout.read()
        return [line.split() for line in text.decode().splitlines()], await process.wait()


def numbers(history: list[list[str]], what: str, topic: str) -> dict[str, list[int]]:
    """Return the numbers of each key."""
    found: dict[str, list[int]] = defaultdict(list)
    for told, of, key, number in history:
        if (told, of) == (what, topic):
            found[key].append(int(number))
    return found


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(240)])])
def test_killed_at_any_moment(kills: int, tmp_path: Path) -> None:
    """Nothing confirmed is lost, what comes twice was being handled, and each key keeps its order."""

    async def scenario() -> None:
        file, chance = tmp_path / "events.db", random.Random(7)
        history: list[list[str]] = []
        for _ in range(kills):
            tried = numbers(history, "tried", ORDERS) | numbers(history, "tried", MAILS)
            first = [max(tried[f"k{at}"], default=-1) + 1 for at in range(2 * KEYS)]
            lines, code = await history_of("busy", file, *first, lines=chance.randrange(1, 3000))
            assert code == -signal.SIGKILL
            history += [*lines, ["killed", "", "", "0"]]
        lines, code = await history_of("drain", file)
        assert code == 0
        check_orders(history + lines)
        await check_mails(history + lines, file)

    asyncio.run(scenario())  # each process has its own bound


def check_orders(history: list[list[str]]) -> None:
    """Compare what was confirmed with what was handled in order."""
    confirmed, handled = numbers(history, "confirmed", ORDERS), numbers(history, "handled", ORDERS)
    for key, each in confirmed.items():
        assert set(each) <= set(handled[key])
        first = list(dict.fromkeys(handled[key]))
        assert first == sorted(first)
    assert len(confirmed) == KEYS
    check_twice(history)


def check_twice(history: list[list[str]]) -> None:
    """See that after each kill no more came again than were under way."""
    seen: set[tuple[str, str]] = set()
    of_this_process: list[tuple[str, str]] = []
    for told, of, key, number in [*history, ["killed", "", "", "0"]]:
        if (told, of) == ("begun", ORDERS):
            of_this_process.append((key, number))
        elif told == "killed":
            assert len(seen & set(of_this_process)) <= AT_ONCE
            seen |= set(of_this_process)
            of_this_process.clear()


async def check_mails(history: list[list[str]], file: Path) -> None:
    """Compare what was confirmed with what was handled, retried, delayed and buried."""
    confirmed, handled = numbers(history, "confirmed", MAILS), numbers(history, "handled", MAILS)
    broker = MemoryBroker(file)
    await broker.start()
    letters = await broker.dead_letters(MAILS, "mail", 1_000_000)
    assert await broker.backlog(MAILS, "mail") == Backlog(0, len(letters))
    await broker.aclose()
    dead = Counter((letter.key, letter.body) for letter in letters)
    for key, each in confirmed.items():
        rejected = {number for number in each if number % 25 == 7}
        assert set(each) - rejected <= set(handled[key])
        assert all(dead[key, b'{"number":%d,"customer":"mia"}' % number] == 1 for number in rejected)
    assert {letter.reason for letter in letters} <= {"rejected: seven"}
    # What one process had under way may come as late as in the one after the next: retries stand before it.
    again = sum(len(each) - len(set(each)) for each in handled.values())
    assert again <= AT_ONCE * sum(told == "killed" for told, *_ in history)


def test_what_kills_a_process(tmp_path: Path) -> None:
    """A message that ends processes is counted each time, even if at once; those behind it are not."""

    async def scenario() -> None:
        file = tmp_path / "events.db"
        await filled(file, 13, 14, 15)
        for _ in range(3):
            _, code = await history_of("poison", file)
            assert code == -signal.SIGKILL
        assert await returned(file) == [(13, 3), (14, 0), (15, 0)]

    run(scenario())


async def filled(file: Path, *wanted: int) -> None:
    """Make a file with a group and messages."""
    bus = Bus(MemoryBroker(file))
    async with bus:
        intake = await bus.broker.subscribe(Subscription(topic=ORDERS, group="billing", prefetch=1), lambda _: None)
        await intake.aclose()
        for number in wanted:
            await bus.publish(ORDERS, OrderPaid(number))


async def returned(file: Path) -> list[tuple[int, int]]:
    """Return each message's number, and how often it came back."""
    broker, got, all_here = MemoryBroker(file), list[Delivery](), asyncio.Event()
    await broker.start()
    waiting = (await broker.backlog(ORDERS, "billing")).waiting

    def receive(delivery: Delivery) -> None:
        got.append(delivery)
        if len(got) == waiting:
            all_here.set()

    intake = await broker.subscribe(Subscription(topic=ORDERS, group="billing", prefetch=10_000), receive)
    async with asyncio.timeout(LONGEST):
        await all_here.wait()
    await intake.aclose()
    await broker.aclose()
    return [(msgspec.json.decode(each.envelope.body)["number"], each.returned) for each in got]

"""Members in processes of their own, whose listeners' times are compared with ours: the machine has one clock."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, cast

from hasten.cache._backplane import Invalidation
from hasten.cache.backplanes.redis import RedisBackplane
from tests.cache.backplanes.conftest import PATIENT, QUICK, RedisBackplanes, in_set
from tests.cache.backplanes.listening import Alone, Event, Member, Remembering, Told, joined, keys
from tests.cache.backplanes.servers import RedisServer
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

_PROJECT = Path(__file__).parents[3]


class Worker:
    """A process that is a member.

    Attributes:
      heard: What its listener was told, with the times at which it was.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.heard = Remembering()
        self._reading = asyncio.create_task(self._read())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> None:
        """Let it leave and end, whatever state it is in."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            told, at = json.loads(line)
            self.heard.note(Event(_told(told), at))


def _told(told: Any) -> Told:
    match told:
        case list():
            return Invalidation(tuple(told))
        case {"alone": until}:
            return Alone(until)
    return cast("float | None", told)


@asynccontextmanager
async def working(
    count: int, server: RedisServer, namespace: str, *, trust: float = QUICK, wait: bool = True
) -> AsyncIterator[list[Worker]]:
    """Start so many members in processes of their own, and wait until they have joined."""
    command = (sys.executable, "-m", "tests.cache.backplanes.worker", server.url, namespace, str(trust))
    workers = [
        Worker(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=_PROJECT))
        for _ in range(count)
    ]
    try:
        for worker in workers if wait else ():
            await worker.heard.until_trusting()
        yield workers
    finally:
        for worker in workers:
            await worker.end()


@dataclass(frozen=True, slots=True)
class Announced:
    """An announcement that was complete, by our own notes."""

    key: str
    began: float
    completed: float


async def announce(member: Member, key: str) -> Announced:
    """Announce one key again and again until that is complete."""
    while True:
        began = monotonic()
        if await member.backplane.announce(keys(key)):
            return Announced(key, began, monotonic())
        await member.heard.until_trusting()


def could_serve(events: list[Event], announced: Announced) -> bool:
    """Whether a listener could have served a key's old value, if it had it, when the announcement was complete.

    While it is alone it may have what was loaded since then, less than QUICK seconds before.
    """
    trusted_until, emptied, is_alone = 0.0, 0.0, False
    for event in events:
        if event.at > announced.completed:
            break
        match event.told:
            case Invalidation(names):
                if announced.key in names:
                    return False
                continue
            case Alone(until):
                if not is_alone or event.at >= trusted_until:
                    emptied = event.at
                trusted_until, is_alone = until, True
            case None:
                trusted_until, emptied, is_alone = 0.0, event.at, False
            case until:
                trusted_until, is_alone = until, False
    youngest = max(emptied, announced.completed - QUICK) if is_alone else emptied
    return announced.completed < trusted_until and youngest < announced.began


async def announce_without_waiting(member: Member) -> None:
    """Announce a hundred times; to wait each time would take three times as long as it may take in all."""
    began = monotonic()
    for number in range(100):
        assert await member.backplane.announce(keys(f"quick {number}"))
    assert monotonic() - began < 100 * QUICK / 3


def test_complete_means_everywhere(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """When an announcement returns, every process has applied it, by the process's own note of the time."""

    async def main() -> None:
        async with working(2, server, namespace) as workers, joined(*members_of(1)) as (ours,):
            completed = []
            for number in range(100):
                assert await ours.backplane.announce(keys(str(number)))
                completed.append(monotonic())
            for worker in workers:
                await worker.heard.until(lambda heard: "99" in heard.keys)
                applied = [event.at for event in worker.heard.events if isinstance(event.told, Invalidation)]
                assert len(applied) == len(completed)
                assert all(one < other for one, other in zip(applied, completed, strict=True))

    run(loop_factory, main())


def test_process_that_is_frozen(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A frozen process is waited for once; when it goes on its trust is over, and comes back only behind the news."""

    async def main() -> None:
        async with working(2, server, namespace) as (frozen, other), joined(*members_of(1)) as (ours,):
            frozen.signal(signal.SIGSTOP)
            announced = await announce(ours, "k")
            assert announced.completed - announced.began > QUICK / 2  # its last beat may be older than its freezing
            await announce_without_waiting(ours)
            frozen.signal(signal.SIGCONT)
            await frozen.heard.until(lambda heard: heard.keys[-1:] == ["quick 99"] and heard.trusting)
            await other.heard.until(lambda heard: heard.keys[-1:] == ["quick 99"])
            for worker in (frozen, other):
                assert not could_serve(worker.heard.events, announced)
            (applied,) = [event.at for event in frozen.heard.events if event.told == Invalidation(("k",))]
            before = [event for event in frozen.heard.events if event.at < applied]
            assert applied > announced.completed
            assert max(event.told for event in before if isinstance(event.told, float)) < announced.completed
            assert await ours.backplane.announce(keys("l"))

    run(loop_factory, main())


def test_process_that_is_killed(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A killed process is waited for once, until its trust would be over; the others have applied it."""

    async def main() -> None:
        async with working(2, server, namespace) as (killed, other), joined(*members_of(1)) as (ours,):
            killed.signal(signal.SIGKILL)
            await killed.process.wait()
            announced = await announce(ours, "k")
            await announce_without_waiting(ours)
            await other.heard.until(lambda heard: heard.keys[-1:] == ["quick 99"])
            for worker in (killed, other):
                assert not could_serve(worker.heard.events, announced)
            with server.client() as client:
                assert len(in_set(client, namespace)) == 2

    run(loop_factory, main())


def test_process_that_leaves(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """Nobody waits for a process that leaves, whatever is announced meanwhile."""

    async def main() -> None:
        async with working(4, server, namespace, trust=PATIENT) as workers, joined(*members_of(1, PATIENT)) as (ours,):
            for worker in workers:
                leaving = asyncio.create_task(worker.end())
                while not leaving.done():
                    assert await ours.backplane.announce(keys("k"))
            assert await ours.backplane.announce(keys("k"))

    run(loop_factory, main())


def test_restarted_redis_and_a_frozen_process(server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """A member that is new to a Redis without data waits for those whom that Redis does not know."""

    async def main() -> None:
        async with working(1, server, namespace) as (frozen,):
            frozen.signal(signal.SIGSTOP)
            server.kill()
            server.start()
            async with joined(RedisBackplane(server.url, namespace, trust_seconds=QUICK)) as (ours,):
                announced = await announce(ours, "k")
                assert announced.completed - announced.began > QUICK
                frozen.signal(signal.SIGCONT)
                await frozen.heard.until(lambda heard: heard.distrusts > 1 and heard.trusting)
                assert not could_serve(frozen.heard.events, announced)

    run(loop_factory, main())


def test_history(members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """Whatever is frozen, killed or restarted: no process could serve what had been announced completely."""
    chance = Random(6)

    async def main() -> None:
        completed: list[Announced] = []
        async with working(3, server, namespace) as workers, joined(*members_of(2)) as members:
            alive = list(workers)

            async def once(name: str, member: Member) -> None:
                began = monotonic()
                if await member.backplane.announce(keys(name)):
                    completed.append(Announced(name, began, monotonic()))

            for number in range(16):
                disturbed = chance.choice([*alive, *alive, server, "restart", "kill", None])
                if isinstance(disturbed, Worker):
                    disturbed.signal(signal.SIGSTOP)
                elif disturbed is server:
                    server.freeze()
                elif disturbed == "kill" and len(alive) > 1:
                    alive.pop().signal(signal.SIGKILL)
                work = [asyncio.create_task(once(f"{number}-{one}", members[one % 2])) for one in range(20)]
                await passes(chance.randrange(20))
                if disturbed == "restart":
                    server.kill()
                    server.start()
                if chance.random() < 0.5:  # thawed before it is waited for
                    _thaw(alive, server)
                await asyncio.gather(*work)
                _thaw(alive, server)
                await members[0].heard.until_trusting()
            await announce(members[0], "last")
            listeners = [worker.heard for worker in alive] + [member.heard for member in members]
            for heard in listeners:
                await heard.until(lambda heard: heard.trusting and (heard.keys[-1:] == ["last"] or heard.distrusts > 1))
            histories = [worker.heard.events for worker in workers] + [member.heard.events for member in members]
        assert len(completed) > 50
        for events in histories:
            assert not [one for one in completed if could_serve(events, one)]

    run(loop_factory, main())


def _thaw(workers: list[Worker], server: RedisServer) -> None:
    server.thaw()
    for worker in workers:
        worker.signal(signal.SIGCONT)

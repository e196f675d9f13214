"""Members in processes of their own, whose listeners' times are compared with ours: the machine has one clock."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic

from hasten.cache._backplane import Invalidation
from tests.cache.backplanes.conftest import QUICK, RedisBackplanes
from tests.cache.backplanes.listening import Event, Remembering, joined, keys
from tests.cache.backplanes.servers import RedisServer
from tests.cache.running import run
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
            self.heard.note(Event(Invalidation(tuple(told)) if isinstance(told, list) else told, at))


@asynccontextmanager
async def working(count: int, server: RedisServer, namespace: str) -> AsyncIterator[list[Worker]]:
    """Start so many members in processes of their own, and wait until they have joined."""
    arguments = (server.url, namespace, str(QUICK.trust), str(QUICK.untrusted))
    command = (sys.executable, "-m", "tests.cache.backplanes.worker", *arguments)
    workers = [
        Worker(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=_PROJECT))
        for _ in range(count)
    ]
    try:
        for worker in workers:
            await worker.heard.until_trusting()
        yield workers
    finally:
        for worker in workers:
            await worker.end()


def could_serve(events: list[Event], key: str, at: float) -> bool:
    """Whether a listener that had kept a key's old value could have served it at a moment."""
    trusted_until = 0.0
    for event in events:
        if event.at > at:
            break
        if isinstance(event.told, Invalidation):
            if key in event.told.keys:
                return False
        else:
            trusted_until = event.told or 0.0
    return at < trusted_until


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
    """A frozen process is waited out; when it goes on its trust has ended, and it trusts again only behind the news."""

    async def main() -> None:
        async with working(2, server, namespace) as (frozen, other), joined(*members_of(1)) as (ours,):
            frozen.signal(signal.SIGSTOP)
            began = monotonic()
            assert await ours.backplane.announce(keys("k"))
            completed = monotonic()
            assert completed - began > QUICK.trust
            frozen.signal(signal.SIGCONT)
            await frozen.heard.until(lambda heard: "k" in heard.keys and heard.trusting)
            await other.heard.until(lambda heard: "k" in heard.keys)
            for worker in (frozen, other):
                assert not could_serve(worker.heard.events, "k", completed)
            (applied,) = [event.at for event in frozen.heard.events if isinstance(event.told, Invalidation)]
            before = [event for event in frozen.heard.events if event.at < applied]
            assert applied > completed
            assert max(event.told for event in before if isinstance(event.told, float)) < completed
            assert await ours.backplane.announce(keys("l"))

    run(loop_factory, main())


def test_process_that_is_killed(
    members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory
) -> None:
    """A killed process holds an announcement up for its period, nothing more; the others have applied it."""

    async def main() -> None:
        async with working(2, server, namespace) as (killed, other), joined(*members_of(1)) as (ours,):
            killed.signal(signal.SIGKILL)
            await killed.process.wait()
            assert await ours.backplane.announce(keys("k"))
            completed = monotonic()
            await other.heard.until(lambda heard: "k" in heard.keys)
            assert not could_serve(other.heard.events, "k", completed)

    run(loop_factory, main())


def test_history(members_of: RedisBackplanes, server: RedisServer, namespace: str, loop_factory: LoopFactory) -> None:
    """Whatever is frozen meanwhile, processes or Redis: no process could serve what had been announced completely."""
    chance = Random(6)

    async def main() -> None:
        completed: list[tuple[str, float]] = []
        async with working(2, server, namespace) as workers, joined(*members_of(2)) as members:

            async def announce(name: str, number: int) -> None:
                if await members[number % 2].backplane.announce(keys(name)):
                    completed.append((name, monotonic()))

            for number in range(12):
                frozen = chance.choice([*workers, server, None])
                if isinstance(frozen, Worker):
                    frozen.signal(signal.SIGSTOP)
                elif frozen is not None:
                    frozen.freeze()
                work = [announce(f"{number}-{one}", one) for one in range(20)]
                if chance.random() < 0.5:  # thawed before it is waited for
                    _thaw(workers, server)
                await asyncio.gather(*work)
                _thaw(workers, server)
                await members[0].heard.until_trusting()
            for heard in [worker.heard for worker in workers] + [member.heard for member in members]:
                await heard.until_trusting()
            while not await members[0].backplane.announce(keys("last")):
                await members[0].heard.until(lambda heard: heard.trusting)
            for worker in workers:
                await worker.heard.until(lambda heard: "last" in heard.keys)
            histories = [worker.heard.events for worker in workers] + [member.heard.events for member in members]
        assert len(completed) > 50
        for events in histories:
            assert not [key for key, at in completed if could_serve(events, key, at)]

    run(loop_factory, main())


def _thaw(workers: list[Worker], server: RedisServer) -> None:
    server.thaw()
    for worker in workers:
        worker.signal(signal.SIGCONT)

"""How requests become batches, over a server that is a table and answers when the test says so."""

import asyncio
import contextvars
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from hasten.cache._store import StoreError, StoreTimeout
from hasten.cache.stores import _redis_batch
from hasten.cache.stores._redis_batch import MOST_IN_BATCH, Batches, Command, Request, Server
from tests.cache.running import passes, run
from tests.conftest import LoopFactory

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("MARK", default="")


class Table(Server):
    """Values under keys; every batch is noted, and waits for the gate.

    Attributes:
      batches: The commands and keys of each batch.
      failure: What the next batches end with.
    """

    name = "table"

    def __init__(self, most_at_once: int = 2) -> None:
        self.most_at_once = most_at_once
        self.batches: list[tuple[list[Command], list[str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: BaseException | None = None
        self.marks: list[str] = []

    async def run(self, commands: Sequence[Command], keys: Sequence[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        self.batches.append((list(commands), list(keys)))
        self.marks.append(MARK.get())
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        replies = [ValueError("refused") if command[0] == "REFUSED" else command for command in commands]
        return replies, [key.encode() for key in keys]


async def answer(request: Request) -> Any:
    return await request


def read(batches: Batches, *keys: str) -> Coroutine[Any, Any, Any]:
    """Ask for keys now; the coroutine awaits the answer."""
    request = Request("cache GET table", keys[0], keys)
    batches.add(request)
    return answer(request)


def do(batches: Batches, *command: str, payload_bytes: int = 0) -> Coroutine[Any, Any, Any]:
    request = Request.to_do("cache SET table", "key", command, payload_bytes)
    batches.add(request)
    return answer(request)


def test_one_pass_is_one_batch(loop_factory: LoopFactory) -> None:
    """What several tasks ask in one pass is asked together, each key once, and each gets its own answer."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table)
        asking = [read(batches, "a", "tag"), read(batches, "b", "tag"), do(batches, "SET"), read(batches, "a")]
        assert await asyncio.gather(*asking) == [[b"a", b"tag"], [b"b", b"tag"], ("SET",), [b"a"]]
        assert table.batches == [([("SET",)], ["a", "tag", "b"])]

    run(loop_factory, scenario())


def test_tasks_of_one_pass_share_a_batch(loop_factory: LoopFactory) -> None:
    """Tasks that wake in the same pass share a batch, pass after pass."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table)

        async def reader(name: str) -> None:
            for number in range(5):
                assert await read(batches, f"{name}{number}") == [f"{name}{number}".encode()]

        await asyncio.gather(*(reader(name) for name in "abcdefgh"))
        assert [len(keys) for _, keys in table.batches] == [8] * 5

    run(loop_factory, scenario())


def test_few_batches_at_once(loop_factory: LoopFactory) -> None:
    """While as many batches as the server takes are under way, later requests gather for the next one."""

    async def scenario() -> None:
        table = Table(most_at_once=2)
        table.gate.clear()
        batches = Batches(table)
        asking = []
        for number in range(10):
            asking.append(asyncio.ensure_future(read(batches, f"k{number}")))
            await passes(2)
        assert [keys for _, keys in table.batches] == [["k0"], ["k1"]]
        table.gate.set()
        assert await asyncio.gather(*asking) == [[f"k{number}".encode()] for number in range(10)]
        assert [keys for _, keys in table.batches[2:]] == [[f"k{number}" for number in range(2, 10)]]

    run(loop_factory, scenario())


def test_batches_are_bounded(loop_factory: LoopFactory) -> None:
    """1,000 keys at once go in batches of MOST_IN_BATCH at most, and nobody is forgotten."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table)
        values = await asyncio.gather(*(read(batches, f"k{number}") for number in range(1000)))
        assert values == [[f"k{number}".encode()] for number in range(1000)]
        sizes = [len(keys) for _, keys in table.batches]
        assert max(sizes) == MOST_IN_BATCH
        assert len(sizes) == -(-1000 // MOST_IN_BATCH)

    run(loop_factory, scenario())


def test_large_payloads_fill_a_batch(loop_factory: LoopFactory) -> None:
    """Payloads count by their size: a megabyte is a batch, and one that is larger goes alone."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table)
        sizes = [400_000, 400_000, 400_000, 5_000_000, 10]
        await asyncio.gather(*(do(batches, "SET", payload_bytes=size) for size in sizes))
        assert [len(commands) for commands, _ in table.batches] == [2, 1, 1, 1]

    run(loop_factory, scenario())


def test_cancelled_before_it_is_sent(loop_factory: LoopFactory) -> None:
    """What nobody waits for any more is not asked."""

    async def scenario() -> None:
        table = Table(most_at_once=1)
        table.gate.clear()
        batches = Batches(table)
        under_way = asyncio.ensure_future(read(batches, "under way"))
        await passes()
        kept, dropped = asyncio.ensure_future(read(batches, "kept")), asyncio.ensure_future(read(batches, "dropped"))
        await passes()
        dropped.cancel()
        table.gate.set()
        assert await under_way == [b"under way"]
        assert await kept == [b"kept"]
        assert [keys for _, keys in table.batches] == [["under way"], ["kept"]]

    run(loop_factory, scenario())


def test_failure_is_everyones_own(loop_factory: LoopFactory) -> None:
    """Each caller of a failed batch gets a StoreError of its own with the reason and cause; the next batch is fine."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table)
        table.failure = ConnectionResetError("cut off")
        errors = await asyncio.gather(read(batches, "a"), read(batches, "b"), return_exceptions=True)
        assert [str(error) for error in errors] == ["table: cut off"] * 2
        assert errors[0] is not errors[1]
        assert isinstance(errors[0], StoreError)
        assert errors[0].__cause__ is table.failure
        table.failure = None
        assert await read(batches, "c") == [b"c"]

    run(loop_factory, scenario())


def test_unforeseen_failure(loop_factory: LoopFactory) -> None:
    """An error that is no server's, such as a mistake of ours, is answered too: nobody waits for ever."""

    async def scenario() -> None:
        table = Table()
        table.failure = KeyError()
        with pytest.raises(StoreError, match="KeyError"):
            await read(Batches(table), "a")

    run(loop_factory, scenario())


def test_refused_command(loop_factory: LoopFactory) -> None:
    """A command that the server refuses fails for its caller; the others of the batch have their answers."""

    async def scenario() -> None:
        batches = Batches(Table())
        answers = await asyncio.gather(
            read(batches, "a"), do(batches, "REFUSED"), do(batches, "SET"), return_exceptions=True
        )
        assert answers[0] == [b"a"]
        assert str(answers[1]) == "table: refused"
        assert answers[2] == ("SET",)

    run(loop_factory, scenario())


def test_no_answer(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is not answered ends after ANSWER_WITHIN, and gives its place to the next."""
    monkeypatch.setattr(_redis_batch, "ANSWER_WITHIN", 0.05)

    async def scenario() -> None:
        table = Table(most_at_once=1)
        table.gate.clear()
        batches = Batches(table)
        with pytest.raises(StoreError, match=r"no answer within 0\.05 s"):
            await read(batches, "a")
        table.gate.set()
        assert await read(batches, "b") == [b"b"]

    run(loop_factory, scenario())


def test_later_requests(loop_factory: LoopFactory) -> None:
    """What is to be sent later is sent when the server has answered something, not before."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table)
        batches.add_later(Request.to_do("cache RELEASE table", "key", ("RELEASE",)))
        await passes()
        assert table.batches == []
        table.failure = OSError("gone")
        with pytest.raises(StoreError):
            await read(batches, "a")
        table.failure = None
        await read(batches, "b")
        await passes()
        assert table.batches[-1] == ([("RELEASE",)], [])

    run(loop_factory, scenario())


@pytest.mark.parametrize("cancelled", ["queued", "under way"])
def test_what_follows_a_cancelled_request(loop_factory: LoopFactory, cancelled: str) -> None:
    """What is to follow a request is sent behind it, whether that was sent or dropped when its caller went."""

    async def scenario() -> None:
        table = Table(most_at_once=1)
        table.gate.clear()
        batches = Batches(table)
        first = asyncio.ensure_future(read(batches, "first"))
        if cancelled == "queued":
            await passes()
        request = Request.to_do("cache LEASE table", "key", ("LEASE",))
        request.then = Request.to_do("cache RELEASE table", "key", ("RELEASE",))
        batches.add(request)
        waiting = asyncio.ensure_future(answer(request))
        await passes()
        waiting.cancel()
        table.gate.set()
        await first
        await passes()
        sent = [command[0] for commands, _ in table.batches for command in commands]
        assert sent == (["RELEASE"] if cancelled == "queued" else ["LEASE", "RELEASE"])

    run(loop_factory, scenario())


def test_batches_belong_to_nobody(loop_factory: LoopFactory) -> None:
    """A batch runs in a context of its own: one caller's deadline or span is not the others'."""

    async def scenario() -> None:
        MARK.set("a caller's")
        table = Table()
        await read(Batches(table), "a")
        assert table.marks == [""]

    run(loop_factory, scenario())


def test_closing(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits shortly for what is under way, fails it and what is queued, and refuses what comes after."""
    monkeypatch.setattr(_redis_batch, "CLOSE_WITHIN", 0.05)

    async def scenario() -> None:
        table = Table(most_at_once=1)
        table.gate.clear()
        batches = Batches(table)
        sent = asyncio.ensure_future(read(batches, "sent"))
        await passes()
        queued = asyncio.ensure_future(read(batches, "queued"))
        await batches.aclose()
        for waiting in (sent, queued):
            with pytest.raises(StoreError, match="table: closed"):
                await waiting
        with pytest.raises(StoreError, match="table: closed"):
            await read(batches, "after")
        await batches.aclose()

    run(loop_factory, scenario())


def test_closing_lets_batches_end(loop_factory: LoopFactory) -> None:
    """A batch whose answer comes in time is answered although the store is being closed."""

    async def scenario() -> None:
        table = Table()
        table.gate.clear()
        batches = Batches(table)
        sent = asyncio.ensure_future(read(batches, "sent"))
        await passes()
        closing = asyncio.ensure_future(batches.aclose())
        await passes()
        table.gate.set()
        await closing
        assert await sent == [b"sent"]

    run(loop_factory, scenario())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_share_batches_too() -> None:
    """Where the loop runs tasks at once, what is asked in one pass still goes together."""

    async def scenario() -> None:
        factory = getattr(asyncio, "eager_task_factory", None)  # for the type checker, which has 3.11 in mind
        asyncio.get_running_loop().set_task_factory(factory)
        table = Table()
        batches = Batches(table)
        await asyncio.gather(*(read(batches, name) for name in "abc"))
        assert [keys for _, keys in table.batches] == [["a", "b", "c"]]

    asyncio.run(scenario())


def test_a_read_is_told_in_time(loop_factory: LoopFactory) -> None:
    """Who reads waits for `timeout` at most, also in the queue behind batches that hang; nobody's command is ended."""

    async def scenario() -> None:
        table = Table(most_at_once=1)
        table.gate.clear()
        batches = Batches(table, timeout=0.02)
        first, command = asyncio.ensure_future(read(batches, "a")), asyncio.ensure_future(do(batches, "SET"))
        await passes()
        queued = asyncio.ensure_future(read(batches, "b"))
        answers = await asyncio.gather(first, queued, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreTimeout] * 2
        assert answers[0] is not answers[1]
        assert str(answers[0]) == "table: no answer within 0.02 s"
        assert not command.done()
        table.gate.set()
        assert await command == ("SET",)
        assert table.batches == [([("SET",)], ["a"])]  # nobody waits for "b" any more
        assert await read(batches, "c") == [b"c"]

    run(loop_factory, scenario())


def test_a_loop_that_was_held_up(loop_factory: LoopFactory) -> None:
    """Something that blocks the loop for longer than the timeout is not taken for a server that does not answer."""

    async def scenario() -> None:
        table = Table()
        batches = Batches(table, timeout=0.1)
        asking = asyncio.ensure_future(read(batches, "a"))
        table.gate.clear()
        await passes()
        time.sleep(0.2)
        asyncio.get_running_loop().call_soon(table.gate.set)  # the answer lies in the socket
        assert await asking == [b"a"]

    run(loop_factory, scenario())


def test_the_timer_of_late_answers_ends(loop_factory: LoopFactory) -> None:
    """A store that nobody asks has no timer."""

    async def scenario() -> None:
        batches = Batches(Table(), timeout=0.01)
        await read(batches, "a")
        while batches._look is not None:
            await asyncio.sleep(0.001)

    run(loop_factory, scenario())

"""What the accounts of known endpoints say, over real uvicorn, on asyncio and uvloop, h11 and httptools."""

import asyncio
import gc
import os
import time

import pytest

from hasten.ledger import Account, Kind
from tests.ledger.cases import make_app, with_middleware
from tests.ledger.serving import LoopFactory, ask, seconds, serving

pytestmark = pytest.mark.may_block


def assert_adds_up(account: Account) -> None:
    assert sum(line.seconds for line in account.lines) == pytest.approx(account.wall + account.unread, abs=1e-6)
    assert sum(part for _, part in account.timeline) == pytest.approx(account.wall, abs=1e-6)
    assert account.coverage >= 0.98 or account.wall < 0.001


@pytest.mark.parametrize(
    ("target", "kind", "function", "least"),
    [
        ("/items/1", Kind.WAITING, "answer", 0.009),
        ("/sequence", Kind.WAITING, "answer", 0.028),
        ("/generators", Kind.WAITING, "", 0.036),
        ("/expired", Kind.WAITING, "expired", 0.018),
        ("/stream", Kind.WAITING, "chunks", 0.028),
        ("/gather", Kind.WAITING, "slowest", 0.018),
        ("/group", Kind.WAITING, "slowest", 0.018),
        ("/anyio-group", Kind.WAITING, "slowest", 0.018),
        ("/queue", Kind.WAITING, "answer", 0.018),
        ("/stream-between", Kind.WAITING, "answer", 0.018),
        ("/thread", Kind.THREAD, "thread", 0.019),
        ("/dependency", Kind.THREAD, "sync_dependency", 0.009),
        ("/resource", Kind.THREAD, "sync_resource", 0.009),
        ("/executor", Kind.THREAD, "sync_dependency", 0.009),
        ("/executor", Kind.THREAD, "", 0.028),
        ("/anyio-threads", Kind.THREAD, "sync_dependency", 0.009),
        ("/pool", Kind.THREAD, "sync_dependency", 0.009),
        ("/pool-tasks", Kind.THREAD, "sync_dependency", 0.009),
        ("/pool-tasks", Kind.THREAD_QUEUED, "sync_dependency", 0.009),
        ("/pool-expired", Kind.THREAD_QUEUED, "sync_dependency", 0.018),
        ("/blocking", Kind.BLOCKING, "blocking", 0.050),
        ("/computing", Kind.COMPUTING, "", 0.050),
        ("/both", Kind.BLOCKING, "both", 0.070),
        ("/both", Kind.COMPUTING, "", 0.070),
    ],
)
def test_time_is_found_where_it_was_spent(
    target: str, kind: Kind, function: str, least: float, loop_factory: LoopFactory
) -> None:
    """The seconds of a known endpoint stand under the right kind and function, and the account adds up."""
    account = ask(make_app(), [target, target], loop_factory).accounts[-1]

    assert seconds(account, kind, function=function) >= least, account.lines
    assert_adds_up(account)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_every_case_adds_up_behind_a_function_middleware(http: str, loop_factory: LoopFactory) -> None:
    """BaseHTTPMiddleware runs the app in a task of its own: the account follows it and still adds up."""
    targets = ["/items/1", "/gather", "/thread", "/stream", "/blocking"]
    served = ask(with_middleware(make_app()), targets, loop_factory, http=http)

    for account in served.accounts:
        assert_adds_up(account)
    assert seconds(served.account("GET /items/{item}"), Kind.WAITING, function="answer") >= 0.009
    assert seconds(served.account("GET /blocking"), Kind.BLOCKING, function="blocking") >= 0.05
    assert seconds(served.account("GET /thread"), Kind.THREAD, function="thread") >= 0.019


def test_account_names_the_request(loop_factory: LoopFactory) -> None:
    """Service, route template, target with query and status stand in the account."""
    served = ask(make_app(), ["/items/7?colour=red", "/nowhere"], loop_factory)

    account = served.account("GET /items/{item}")
    assert (account.service, account.target, account.status) == ("test", "/items/7?colour=red", 200)
    assert served.account("GET /nowhere").status == 404


def test_calls_are_counted_once_however_often_they_suspend(loop_factory: LoopFactory) -> None:
    """Three awaits of one site are three calls, with their arguments in detail mode."""
    account = ask(make_app(), ["/sequence"], loop_factory).accounts[0]

    (line,) = [line for line in account.lines if line.kind is Kind.WAITING and line.site.function == "answer"]
    assert line.count == 3
    assert line.site.library == "asyncio.sleep"
    assert [call.identity for call in account.calls if call.site == line.site] == ["0.01"] * 3


def test_background_work_is_not_in_the_wall_time(loop_factory: LoopFactory) -> None:
    """A background task runs after the last byte: the account ends there."""
    account = ask(make_app(), ["/background"], loop_factory).account("GET /background")

    assert seconds(account, Kind.WAITING, function="answer") < 0.03
    assert account.wall < 0.03 or seconds(account, Kind.WAITING) < 0.03


def test_a_forgotten_task_is_not_counted(loop_factory: LoopFactory) -> None:
    """A task that outlives the response adds nothing to it and still runs to its end."""

    async def conversation() -> tuple[Account, float]:
        app = make_app()
        async with serving(app) as served:
            await served.ask("/forgotten")
            result = await app.state.forgotten
        return served.account("GET /forgotten"), result

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        account, result = runner.run(conversation())
    assert seconds(account, Kind.WAITING, function="answer") < 0.05
    assert result == 0.05


def test_giving_way_is_queueing_not_waiting(loop_factory: LoopFactory) -> None:
    """asyncio.sleep(0) is time in the loop's queue."""
    account = ask(make_app(), ["/yields"], loop_factory).accounts[0]

    assert seconds(account, Kind.WAITING) == 0
    assert seconds(account, Kind.QUEUED) > 0


def test_waiting_for_a_lock_names_it(loop_factory: LoopFactory) -> None:
    """The second holder's wait stands at Lock.acquire."""

    async def conversation() -> list[Account]:
        async with serving(make_app()) as served:
            await served.ask("/lock", "/lock")
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation())
    waits = [line for account in accounts for line in account.lines if line.site.leaf == "asyncio.Lock.acquire"]
    assert sum(line.seconds for line in waits) >= 0.015


def test_the_victim_of_a_held_loop_names_the_holders_line(loop_factory: LoopFactory) -> None:
    """A request that waits while another blocks the loop shows the time as held, at the blocker's line."""

    async def conversation() -> list[Account]:
        async with serving(make_app()) as served:
            await served.ask("/items/1", "/blocking", "/blocking")
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation())
    (account,) = [account for account in accounts if account.endpoint == "GET /items/{item}"]
    held = [line for line in account.lines if line.kind is Kind.HELD]
    assert sum(line.seconds for line in held) >= 0.03, account.lines
    assert {line.site.function.rpartition(".")[2] for line in held} == {"blocking"}
    assert_adds_up(account)


def test_a_callback_that_holds_the_loop_is_named(loop_factory: LoopFactory) -> None:
    """The watchdog finds holders that are no recorded step, such as a timer's callback."""
    account = ask(make_app(), ["/callback"], loop_factory).accounts[0]

    assert seconds(account, Kind.HELD, function="hold") >= 0.03, account.lines
    assert_adds_up(account)


def test_unsampled_requests_hold_the_loop_too(loop_factory: LoopFactory) -> None:
    """With one request in many recorded, the watchdog still names the line of an unrecorded blocker."""

    async def conversation() -> set[str]:
        app = make_app()
        async with serving(app, sample_every=10**9, detail=False) as served:
            for _ in range(60):  # in calm times it looks ten times a second
                await served.ask("/blocking")
                ledger = app.state.ledger
                holds = ledger.loop(asyncio.get_running_loop()).state.holds
                if holds:
                    break
            return {ledger.sites.sites[hold.site].function.rpartition(".")[2] for hold in holds}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(conversation()) == {"blocking"}


def test_keep_alive_requests_are_told_apart(loop_factory: LoopFactory) -> None:
    """Pipelined requests on one connection, each started from the task of the one before, have their own accounts."""

    async def conversation() -> list[Account]:
        async with serving(make_app()) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            request = b"GET /items/%d HTTP/1.1\r\nHost: test\r\n\r\n"
            writer.write(b"".join(request % number for number in range(3)))
            text = b""
            while text.count(b"HTTP/1.1 200") < 3 or not text.endswith(b"2"):
                text += await reader.read(4096)
            writer.close()
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation())
    assert [account.target for account in accounts] == ["/items/0", "/items/1", "/items/2"]
    for account in accounts:
        assert_adds_up(account)
        assert account.wall < 0.1


def test_unread_time_is_seen_in_the_kernel(loop_factory: LoopFactory) -> None:
    """A request whose bytes arrive while the loop is held shows the time before the server read them (Linux)."""

    async def conversation() -> list[Account]:
        async with serving(make_app()) as served:
            await served.ask("/fast")
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            await served.ask("/fast")  # the second connection is accepted by now
            blocker = asyncio.create_task(served.ask_one("/blocking"))
            loop = asyncio.get_running_loop()
            descriptor = os.dup(writer.get_extra_info("socket").fileno())
            # From a thread, so that the bytes arrive while the loop is held.
            sent = loop.run_in_executor(None, _send_during_hold, descriptor)
            await blocker
            await sent
            await reader.read(100)
            writer.close()
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation())
    unread = max(account.unread for account in accounts if account.endpoint == "GET /fast")
    assert unread >= 0.008
    slow = max(accounts, key=lambda account: account.unread)
    assert any(line.kind is Kind.UNREAD for line in slow.lines)


def _send_during_hold(descriptor: int) -> None:
    time.sleep(0.02)
    os.write(descriptor, b"GET /fast HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    os.close(descriptor)


def test_a_collection_within_a_step_is_its_own_kind(loop_factory: LoopFactory) -> None:
    """A garbage collection is told from the code it interrupts."""
    app = make_app()

    @app.get("/collect")
    async def collect() -> int:
        kept = [[number] for number in range(200_000)]
        gc.collect()
        return len(kept)

    account = ask(app, ["/collect"], loop_factory).account("GET /collect")
    assert seconds(account, Kind.COLLECTING) > 0.0005
    assert_adds_up(account)

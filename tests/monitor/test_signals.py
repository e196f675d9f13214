"""Calls, messages, caches and the loop: what they tell becomes their metrics."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hasten._core.errors import ConfigurationError
from hasten._core.signals import (
    CallFinished,
    CallStarted,
    Collected,
    EventBacklog,
    EventBuried,
    EventDelivered,
    EventHandled,
    EventPublished,
    EventRetried,
    HttpCallFinished,
    LoopHeld,
    OutboxLag,
    RequestRecorded,
    Stray,
    ThreadWork,
)
from hasten.cache import Cache
from hasten.concurrency import Background, GcPolicy, TaskWatch, ThreadPool
from hasten.events import Bus
from hasten.http.client import Client, ConnectionLost
from hasten.monitor import Check, Monitor, Pool
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._snapshot import HistogramValue
from hasten.resilience import Breaker, Limiter, Priority, Refused
from tests.concurrency.gates import Gate, begun
from tests.http.client.services import Service, calling_service, response

METHOD = "/shop.Catalog/Get"


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("test")


def read(monitor: Monitor, metric: Metric) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by labels; of a histogram how many there were."""
    with ThreadPoolExecutor(1) as thread:  # as the admin port does; never on a loop
        family = thread.submit(monitor.snapshot).result().family(metric)
    return {
        one.values: one.value.count if isinstance(one.value, HistogramValue) else one.value for one in family.series
    }


def test_calls_that_are_made(monitor: Monitor) -> None:
    """Each attempt of a call is timed, by its status, and counted by why it was made."""
    for attempt, code in (("first", "UNAVAILABLE"), ("retry", "OK"), ("hedge", "OK")):
        monitor._calls.note(CallStarted("client", METHOD, "ipv4:127.0.0.1:1", attempt))  # type: ignore[arg-type]
        monitor._calls.note(CallFinished("client", METHOD, "ipv4:127.0.0.1:1", attempt, code, 0.01, 10, 20))  # type: ignore[arg-type]
    assert read(monitor, catalogue.RPC_CLIENT_DURATION) == {(METHOD, "UNAVAILABLE"): 1, (METHOD, "OK"): 2}
    attempts = read(monitor, catalogue.RPC_CLIENT_ATTEMPTS)
    assert attempts == {(METHOD, "first"): 1, (METHOD, "retry"): 1, (METHOD, "hedge"): 1}
    assert read(monitor, catalogue.RPC_BYTES) == {("client", "sent", METHOD): 30, ("client", "received", METHOD): 60}
    assert read(monitor, catalogue.RPC_SERVER_ACTIVE) == {}


def test_calls_that_are_answered(monitor: Monitor) -> None:
    """Methods that the server does not have are one series, whatever their names; calls under way are counted."""
    for name in ("/a/B", "/c/D", METHOD):
        monitor._calls.note(CallStarted("server", name, "peer", "first"))
    assert read(monitor, catalogue.RPC_SERVER_ACTIVE) == {(): 3}
    for name, code in (("/a/B", "UNIMPLEMENTED"), ("/c/D", "UNIMPLEMENTED"), (METHOD, "OK")):
        monitor._calls.note(CallFinished("server", name, "peer", "first", code, 0.01, 1, 1))
    assert read(monitor, catalogue.RPC_SERVER_DURATION) == {(OTHER, "UNIMPLEMENTED"): 2, (METHOD, "OK"): 1}
    assert read(monitor, catalogue.RPC_SERVER_ACTIVE) == {(): 0}


def test_http_calls(monitor: Monitor) -> None:
    """A watched client's calls are timed by host, status and error, and what it knows of the host is read."""

    async def use() -> str:
        service = Service()
        async with calling_service(service) as client:
            monitor.watch(client)
            assert set((await asyncio.to_thread(read, monitor, catalogue.HTTP_CLIENT_ATTEMPTS)).values()) == {0}
            await client.get("/")
            service.answer = lambda request, number: response(status=503 if number == 2 else 404)
            await client.get("/")
            host = client.statistics().hosts[0].name
            assert (await asyncio.to_thread(read, monitor, catalogue.POOL_CONNECTIONS))[host, "idle"] == 1
            service.answer = lambda request, number: b""
            with pytest.raises(ConnectionLost):
                await client.post("/")
        return host

    host = asyncio.run(use())
    address, port = host.split(":")
    assert read(monitor, catalogue.HTTP_CLIENT_DURATION) == {
        ("GET", address, port, "200", ""): 1,
        ("GET", address, port, "404", "404"): 1,
        ("POST", address, port, "", "ConnectionLost"): 1,
    }
    attempts = read(monitor, catalogue.HTTP_CLIENT_ATTEMPTS)
    assert {attempt: count for (*_, attempt), count in attempts.items()} == {
        "first": 3,
        "retry": 1,
        "hedge": 0,
        "transparent": 0,
    }
    assert read(monitor, catalogue.BREAKER_STATE) == {(host,): 0.0}
    assert read(monitor, catalogue.BREAKER_CALLS)[host, "failure"] == 2
    assert read(monitor, catalogue.POOL_CONNECTIONS) == {(host, "used"): 0, (host, "idle"): 0, (host, "limit"): 100}
    assert read(monitor, catalogue.POOL_WAITING) == {(host,): 0}


def test_clients_of_one_host(monitor: Monitor) -> None:
    """Their attempts are added up, and their connections told apart."""
    monitor.watch(Client("http://pricing"), Client(["https://pricing:8443", "http://pricing"]))
    assert set(read(monitor, catalogue.POOL_WAITING)) == {("pricing",), ("pricing:8443",), ("pricing-2",)}
    assert {labels[:2] for labels in read(monitor, catalogue.HTTP_CLIENT_ATTEMPTS)} == {
        ("pricing", "80"),
        ("pricing", "8443"),
    }
    assert read(monitor, catalogue.BREAKER_STATE) == {}  # they have none before the first call


def test_http_calls_that_no_host_was_asked_for(monitor: Monitor) -> None:
    """They are the client's first host's; methods that nobody knows are one."""
    client = Client("http://pricing:8000")
    monitor.watch(client)
    (note, *_) = client._hooks
    note(HttpCallFinished("", "GET", 0, "Refused", 0.0, 0, 0, 0))
    note(HttpCallFinished("pricing:8000", "BREW", 200, "", 0.1, 1, 0, 0))
    assert read(monitor, catalogue.HTTP_CLIENT_DURATION) == {
        ("GET", "pricing", "8000", "", "Refused"): 1,
        (OTHER, "pricing", "8000", "200", ""): 1,
    }


def test_messages(monitor: Monitor) -> None:
    """Publishing, handling, retries, dead letters and backlogs are told apart by topic, group and outcome."""
    note = monitor._messages.note
    of = ("orders.paid", "mail")
    note(EventPublished("orders.paid", True, 0.01, 100))  # noqa: FBT003 - as the signals are made
    note(EventPublished("orders.paid", False, 5.0, 100))  # noqa: FBT003
    note(EventDelivered(*of, 1, 0, 100))
    note(EventHandled(*of, 1, False, 0.2, 0.5))  # noqa: FBT003
    note(EventHandled(*of, 2, True, 0.2, -0.5))  # noqa: FBT003 - two machines' clocks
    note(EventRetried(*of, 1, "failed", 1.0))
    note(EventBuried(*of, "rejected"))
    note(EventBacklog(*of, 7, 1))
    assert read(monitor, catalogue.MESSAGES_SENT) == {("orders.paid", ""): 1, ("orders.paid", "unconfirmed"): 1}
    assert read(monitor, catalogue.PUBLISH_DURATION) == {("orders.paid", "publish"): 2}
    assert read(monitor, catalogue.MESSAGES_CONSUMED) == {of: 1}
    assert read(monitor, catalogue.PROCESS_DURATION) == {(*of, "failed"): 1, (*of, ""): 1}
    assert read(monitor, catalogue.EVENT_WAIT) == {of: 2}
    assert read(monitor, catalogue.EVENT_RETRIES) == {(*of, "failed"): 1}
    assert read(monitor, catalogue.DEAD_LETTERS) == {(*of, "rejected"): 1}
    assert read(monitor, catalogue.CONSUMER_LAG) == {of: 7}
    assert read(monitor, catalogue.DEAD_LETTER_BACKLOG) == {of: 1}
    monitor._messages.note_outbox(OutboxLag("outbox", 3, 1.5, 1))
    assert read(monitor, catalogue.OUTBOX_WAITING) == {("outbox",): 3}
    assert read(monitor, catalogue.OUTBOX_OLDEST) == {("outbox",): 1.5}
    assert read(monitor, catalogue.OUTBOX_REFUSED) == {("outbox",): 1}


def test_the_ledgers_signals(monitor: Monitor) -> None:
    """Steps, waits for threads, collections and blocking sites are counted; what the kernel did is nobody's fault."""
    note = monitor.runtime.note
    note(RequestRecorded((0.001, 0.002), (0.1,)))
    note(Collected(2, 0.03))
    note(LoopHeld("app.py:12 handler", 0.5, preempted=False))
    note(LoopHeld("app.py:12 handler", 0.25, preempted=False))
    note(LoopHeld("", 0.1, preempted=False))
    note(LoopHeld("app.py:90 innocent", 9.0, preempted=True))
    assert read(monitor, catalogue.LOOP_STEP) == {(): 2}
    assert read(monitor, catalogue.THREADPOOL_WAIT) == {(): 1}
    assert read(monitor, catalogue.GC_PAUSE) == {("2",): 1}
    assert read(monitor, catalogue.LOOP_BLOCKING) == {("app.py:12 handler",): 2, ("unknown",): 1}
    assert read(monitor, catalogue.LOOP_BLOCKING_TIME) == {("app.py:12 handler",): 0.75, ("unknown",): 0.1}


def test_a_cache(monitor: Monitor) -> None:
    """A watched cache's lookups, loads and size are its metrics; another of the same namespace has another name."""
    first, second = Cache(), Cache()
    monitor.watch(first, second, first)

    @first.cached(ttl=30, name="price")
    async def price(product: int) -> int:
        if product < 0:
            raise LookupError
        return product

    async def use() -> None:
        for product in (1, 1, 1, 2):
            await price(product)
        with pytest.raises(LookupError):
            await price(-1)

    asyncio.run(use())
    requests = read(monitor, catalogue.CACHE_REQUESTS)
    assert {values[2]: count for values, count in requests.items() if values[:2] == ("hasten", "price")} == {
        "hit": 2,
        "stale": 0,
        "miss": 3,
    }
    loads = read(monitor, catalogue.CACHE_LOADS)
    assert loads == {("hasten", "price", "loader", "ok"): 2, ("hasten", "price", "loader", "error"): 1}
    assert read(monitor, catalogue.CACHE_LOAD_DURATION) == {("hasten", "price", "loader"): 3}
    assert read(monitor, catalogue.CACHE_ENTRIES) == {("hasten",): 2, ("hasten-2",): 0}


def test_breakers_and_pools(monitor: Monitor) -> None:
    """A breaker's state and a pool's numbers are read when somebody asks."""
    breaker = Breaker()
    pool = [Pool(used=1, idle=2, limit=10)]
    monitor.watch_breaker("redis", breaker)
    monitor.watch_pool("database", lambda: pool[0])
    breaker.timed_out()
    assert read(monitor, catalogue.BREAKER_STATE) == {("redis",): 2.0}
    assert read(monitor, catalogue.BREAKER_CALLS)["redis", "timeout"] == 1
    pool[0] = Pool(used=10, idle=0, limit=10, waiting=3)
    states = {"used": 10, "idle": 0, "limit": 10}
    assert read(monitor, catalogue.POOL_CONNECTIONS) == {("database", state): n for state, n in states.items()}
    assert read(monitor, catalogue.POOL_WAITING) == {("database",): 3}


def test_limiters(monitor: Monitor) -> None:
    """A limiter's limit and whom it has refused are read when somebody asks; each by a name of its own."""
    limiter = Limiter(initial=10, least=10, most=10)
    monitor.watch(limiter)
    monitor.watch_limiter("reports", Limiter(initial=4))
    assert limiter.admits(Priority.HIGH)
    while limiter.admits(Priority.LOW):
        pass
    assert read(monitor, catalogue.LIMITER_LIMIT) == {("limiter",): 10.0, ("reports",): 4.0}
    assert read(monitor, catalogue.LIMITER_IN_FLIGHT) == {("limiter",): 5, ("reports",): 0}
    asked = read(monitor, catalogue.LIMITER_REQUESTS)
    assert {labels[1:]: count for labels, count in asked.items() if labels[0] == "limiter" and count} == {
        ("high", "admitted"): 1,
        ("low", "admitted"): 4,
        ("low", "refused"): 1,
    }


def test_thread_pools(monitor: Monitor) -> None:
    """What a pool's threads do is read, and each call is timed and counted by its outcome."""

    async def use() -> None:
        gate = Gate()
        async with ThreadPool("images", 1, queue=1) as pool:
            monitor.watch(pool, ThreadPool("mail", 4))
            running = asyncio.create_task(pool.run(gate.pass_through))
            await begun(gate)
            waiting = asyncio.create_task(pool.run(int, "seven"))
            await asyncio.sleep(0)
            with pytest.raises(Refused):
                await pool.run(int)
            seen.append(await asyncio.to_thread(read, monitor, catalogue.THREADPOOL_THREADS))
            seen.append(await asyncio.to_thread(read, monitor, catalogue.THREADPOOL_QUEUED))
            gate.open()
            await asyncio.wait([running, waiting])
            assert isinstance(waiting.exception(), ValueError)

    seen: list[dict[tuple[str, ...], float]] = []
    asyncio.run(use())
    threads, queued = seen
    assert {of: count for of, count in threads.items() if of[0] == "images"} == {
        ("images", "busy"): 1,
        ("images", "limit"): 1,
    }
    assert threads["mail", "limit"] == 4
    assert queued == {("images",): 1, ("mail",): 0}
    calls = read(monitor, catalogue.THREADPOOL_CALLS)
    assert {outcome: calls["images", outcome] for outcome in ("ok", "error", "refused")} == {
        "ok": 1,
        "error": 1,
        "refused": 1,
    }
    assert len(calls) == 12
    assert not any(count for (pool, _), count in calls.items() if pool == "mail")
    assert read(monitor, catalogue.THREADPOOL_QUEUE_DURATION) == {("images",): 2, ("mail",): 0}
    assert read(monitor, catalogue.THREADPOOL_RUN_DURATION) == {("images",): 2, ("mail",): 0}


def test_calls_that_no_thread_has_taken(monitor: Monitor) -> None:
    """They have waited, and have not run; those that were refused have not waited either."""
    pool = ThreadPool("images", 1)
    monitor.watch(pool)
    (note,) = pool._hooks
    note(ThreadWork("images", "left", 0.1, 0.0))
    note(ThreadWork("images", "expired", 0.1, 0.0))
    note(ThreadWork("images", "refused", 0.0, 0.0))
    assert read(monitor, catalogue.THREADPOOL_QUEUE_DURATION) == {("images",): 2}
    assert read(monitor, catalogue.THREADPOOL_RUN_DURATION) == {("images",): 0}


def test_background_tasks(monitor: Monitor) -> None:
    """Tasks of a background are counted while they run and by their end; several have names of their own."""
    background = Background(2)
    monitor.watch(background)
    monitor.watch_background("mail", Background())

    async def fail() -> None:
        raise ConnectionError("no mail today")

    async def use() -> None:
        async with background:
            tasks = [background.keep(asyncio.Event().wait()), background.keep(fail())]
            with pytest.raises(Refused):
                background.keep(asyncio.Event().wait())
            running.update(await asyncio.to_thread(read, monitor, catalogue.BACKGROUND_TASKS))
            tasks[0].cancel()

    running: dict[tuple[str, ...], float] = {}
    asyncio.run(use())
    assert running[("mail",)] == 0
    assert read(monitor, catalogue.BACKGROUND_TASKS) == {("background",): 0, ("mail",): 0}
    ended = read(monitor, catalogue.BACKGROUND_ENDED)
    assert {outcome: count for (of, outcome), count in ended.items() if of == "background"} == {
        "done": 0,
        "failed": 1,
        "cancelled": 1,
        "refused": 1,
    }


def test_strays(monitor: Monitor) -> None:
    """What a watch finds is counted by kind and site."""
    watch = TaskWatch()
    monitor.watch(watch)
    (note,) = watch._hooks
    note(Stray("failed", "mail.py:7 send", "send", "LookupError: no order 1", 1))
    note(Stray("failed", "mail.py:7 send", "send", "LookupError: no order 2", 2))
    note(Stray("unheld", "mail.py:9 sweep", "sweep", "", 1))
    assert read(monitor, catalogue.STRAYS) == {("failed", "mail.py:7 send"): 2, ("unheld", "mail.py:9 sweep"): 1}


def test_a_collectors_policy(monitor: Monitor) -> None:
    """How much is left alone by collections is read where there is a policy."""
    assert read(monitor, catalogue.GC_FROZEN) == {}
    policy = GcPolicy(threshold=0)
    monitor.watch(policy)
    with policy:
        assert read(monitor, catalogue.GC_FROZEN)[()] == policy.statistics().frozen > 1000


def test_names_are_of_one_kind(monitor: Monitor) -> None:
    """A cache and the threads that fill it may have one name; two caches get two."""
    monitor.watch(Cache(namespace="images"), ThreadPool("images", 1), Cache(namespace="images"))
    assert set(read(monitor, catalogue.CACHE_ENTRIES)) == {("images",), ("images-2",)}
    assert set(read(monitor, catalogue.THREADPOOL_QUEUED)) == {("images",)}


def test_what_cannot_be_watched(monitor: Monitor) -> None:
    """Something else than a part of hasten is refused, with what would be taken."""
    with pytest.raises(ConfigurationError, match="watch dict: nothing to be read in it; give a Cache"):
        monitor.watch({})


def test_a_bus(monitor: Monitor) -> None:
    """A watched bus tells of its messages, and its checks are the process's."""
    bus = Bus("memory://")
    handled = asyncio.Event()

    @bus.subscribe("orders.paid", group="mail")
    async def mail(order: int) -> None:
        handled.set()

    monitor.watch(bus)
    assert not any(check.required for check in monitor.checks())
    monitor.require(bus)
    assert all(check.required for check in monitor.checks())

    async def use() -> None:
        assert [check.ok for check in monitor.checks() if check.name == "bus"] == [False]
        async with bus:
            await bus.publish("orders.paid", 1)
            await handled.wait()
            assert {check.name for check in monitor.checks()} == {"bus", "broker", "consumer orders.paid mail"}
            assert all(check.ok for check in monitor.checks())

    asyncio.run(use())
    assert read(monitor, catalogue.MESSAGES_SENT) == {("orders.paid", ""): 1}
    assert read(monitor, catalogue.MESSAGES_CONSUMED) == {("orders.paid", "mail"): 1}
    assert read(monitor, catalogue.CHECK)["bus", "true"] == 0


def test_a_check_that_cannot_be_asked(monitor: Monitor) -> None:
    """A check that raises does not hold; the others are asked all the same."""

    def broken() -> Any:
        raise OSError("no route")

    monitor.add_checks(broken)
    monitor.add_checks(lambda: [Check(name="disk")])
    first, second = monitor.checks()
    assert (first.ok, first.reason) == (False, "no route")
    assert (second.name, second.ok) == ("disk", True)


# ---- the loop


@pytest.mark.may_block
def test_a_blocked_loop_is_seen_from_outside(monitor: Monitor) -> None:
    """While the loop is held another thread sees for how long; afterwards it does not, and the lag has been counted."""
    held = threading.Event()
    seen: list[float] = []

    def look() -> None:
        held.wait()
        while not seen or seen[-1] < 0.15:
            seen.append(monitor.runtime.blocked_for())

    async def hold() -> None:
        monitor.runtime.start()
        held.set()
        looking = threading.Thread(target=look)
        looking.start()
        while looking.is_alive():
            time.sleep(0.01)  # what is to be seen
        beaten = asyncio.Event()
        asyncio.get_running_loop().call_later(0.12, beaten.set)
        await beaten.wait()
        assert monitor.runtime.blocked_for() == 0.0
        monitor.runtime.stop()

    asyncio.run(hold())
    assert seen[-1] >= 0.15
    assert read(monitor, catalogue.LOOP_LAG)[()] >= 1
    assert read(monitor, catalogue.LOOP_BLOCKED) == {}


def test_a_loop_that_has_ended(monitor: Monitor) -> None:
    """A loop that was closed without a word is not blocked; a new one can be watched."""

    async def leave() -> None:
        monitor.runtime.start()

    asyncio.run(leave())
    assert monitor.runtime.blocked_for() == 0.0
    assert read(monitor, catalogue.LOOP_TASKS) == {}
    asyncio.run(leave())


def test_tasks_and_threads(monitor: Monitor) -> None:
    """Tasks that are not done, and threads that are at work, are counted while the loop runs."""
    import anyio.to_thread  # as FastAPI does

    go_on, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    async def use() -> None:
        monitor.runtime.start()
        task = asyncio.create_task(anyio.to_thread.run_sync(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        seen = await asyncio.to_thread(lambda: (threads(), read_tasks()))
        go_on.set()
        await task
        assert seen[0]["anyio", "busy"] == 1
        assert seen[0]["anyio", "limit"] == 40
        assert seen[1] >= 2
        monitor.runtime.stop()

    def threads() -> dict[tuple[str, ...], float]:
        family = monitor.snapshot().family(catalogue.THREADPOOL_THREADS)
        return {one.values: one.value for one in family.series if not isinstance(one.value, HistogramValue)}

    def read_tasks() -> float:
        (series,) = monitor.snapshot().family(catalogue.LOOP_TASKS).series
        assert not isinstance(series.value, HistogramValue)
        return series.value

    asyncio.run(use())

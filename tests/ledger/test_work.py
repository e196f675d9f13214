"""gRPC calls and messages are in the ledger as requests are: sampled, asked for, captured, and never in the way."""

import asyncio
import gc
import math
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten._core.ambient import AMBIENT, Carried
from hasten._core.signals import EventHandled, EventSignal
from hasten._core.tracing import asked_traceparent, trace_id_of
from hasten.events import Batch, Bus
from hasten.ledger import Account, Kind, Ledger, StackCapture
from hasten.ledger._records import MOST_STEPS, REQUEST, RequestRecord
from hasten.ledger._work import WorkRecorder
from hasten.monitor import Monitor
from tests.ledger.serving import LoopFactory

METHOD = "/t.T/Quote"
CONSUMER = "orders.paid mail"
SELDOM = 1_000_000
Handler = Callable[..., Any]


def spin(seconds: float) -> None:
    """Compute."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def price(pause: float) -> None:
    await asyncio.sleep(pause)


async def quote(request: bytes, _: Any) -> bytes:
    spin(0.002)
    await price(0.003)
    await asyncio.gather(price(0.002), price(0.004))
    return request


def run(main: Coroutine[Any, Any, Any], loop_factory: LoopFactory = None) -> Any:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


@asynccontextmanager
async def watched(sample_every: int = 1) -> AsyncIterator[tuple[Monitor, list[Account]]]:
    """Yield a monitor with a ledger on the running loop, and where accounts are noted."""
    accounts: list[Account] = []
    ledger, loop, monitor = Ledger(sample_every=sample_every, listeners=[accounts.append]), None, Monitor("t")
    monitor.watch_ledger(ledger)
    loop = asyncio.get_running_loop()
    ledger.attach(loop)
    try:
        yield monitor, accounts
    finally:
        ledger.detach(loop)


@asynccontextmanager
async def called(monitor: Monitor, handler: Handler = quote) -> AsyncIterator[Callable[..., Any]]:
    """Yield what calls a handler of a server that is watched."""
    server = hasten.rpc.Server()
    server.add_registered_method_handlers("t.T", {"Quote": grpc.unary_unary_rpc_method_handler(handler)})
    monitor.watch(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
            yield channel.unary_unary(METHOD)
    finally:
        await server.stop(None)


def by_kind(account: Account) -> dict[Kind, float]:
    found: dict[Kind, float] = {}
    for line in account.lines:
        found[line.kind] = found.get(line.kind, 0.0) + line.seconds
    return found


def test_a_call(loop_factory: LoopFactory) -> None:
    """Its account has the method's name, what it computes and waits for by line, its tasks too; it adds up."""

    async def scenario() -> list[Account]:
        async with watched() as (monitor, accounts), called(monitor) as call:
            assert await call(b"7") == b"7"
        return accounts

    (account,) = run(scenario(), loop_factory)
    assert (account.endpoint, account.target, account.status) == (METHOD, "", 0)
    assert account.coverage > 0.98
    kinds = by_kind(account)
    assert kinds[Kind.COMPUTING] + kinds.get(Kind.PREEMPTED, 0.0) + kinds.get(Kind.BLOCKING, 0.0) > 0.0018
    assert kinds[Kind.WAITING] > 0.005
    assert {line.site.function for line in account.lines if line.kind is Kind.COMPUTING} >= {"quote"}
    assert {line.site.function for line in account.lines if line.kind is Kind.WAITING} >= {"price"}


def test_a_stream() -> None:
    """A call that answers with a stream has one account, for all of it."""

    async def listed(request: bytes, _: Any) -> AsyncIterator[bytes]:
        for _number in range(3):
            await price(0.001)
            yield request

    async def scenario() -> list[Account]:
        async with watched() as (monitor, accounts):
            server = hasten.rpc.Server()
            server.add_registered_method_handlers("t.T", {"List": grpc.unary_stream_rpc_method_handler(listed)})
            monitor.watch(server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
                assert [answer async for answer in channel.unary_stream("/t.T/List")(b"x")] == [b"x"] * 3
            await server.stop(None)
        return accounts

    (account,) = run(scenario())
    assert account.endpoint == "/t.T/List"
    assert by_kind(account)[Kind.WAITING] > 0.0015


async def handled(bus: Bus, *payloads: int) -> None:
    """Publish messages to a bus that has been started, and wait until they are handled."""
    done = asyncio.Semaphore(0)

    def end(signal: EventSignal) -> None:
        if isinstance(signal, EventHandled):
            done.release()

    bus.add_hook(end)
    async with bus:
        for payload in payloads:
            await bus.publish("orders.paid", payload)
        for _ in payloads:
            await done.acquire()


def test_a_message(loop_factory: LoopFactory) -> None:
    """Its account has topic and group, and what its handler waits for; each attempt has its own."""

    async def scenario() -> list[Account]:
        bus = Bus("memory://")

        @bus.subscribe("orders.paid", group="mail")
        async def send_mail(order: int) -> None:
            await price(0.004)

        async with watched() as (monitor, accounts):
            monitor.watch(bus)
            await handled(bus, 1, 2)
        return accounts

    accounts = run(scenario(), loop_factory)
    assert [account.endpoint for account in accounts] == [CONSUMER] * 2
    assert all(by_kind(account)[Kind.WAITING] > 0.0025 for account in accounts)
    assert {line.site.function for line in accounts[0].lines if line.kind is Kind.WAITING} == {"price"}


def test_a_batch() -> None:
    """Messages that are handled together have one account."""

    async def scenario() -> tuple[list[Account], list[list[int]]]:
        bus, batches = Bus("memory://"), []

        @bus.subscribe("orders.paid", group="mail", batch=Batch(most=3, wait=5.0))
        async def send_mail(orders: list[int]) -> None:
            batches.append(orders)
            await price(0.002)

        async with watched() as (monitor, accounts):
            monitor.watch(bus)
            await handled(bus, 1, 2, 3)
        return accounts, batches

    (account,), batches = run(scenario())
    assert batches == [[1, 2, 3]]
    assert account.endpoint == CONSUMER


def test_most_are_not_recorded() -> None:
    """What is not sampled is not wanted."""

    async def scenario() -> None:
        async with watched(SELDOM) as (monitor, _):
            assert monitor.ledger is not None
            assert not WorkRecorder(monitor.ledger).wants("")

    run(scenario())


def test_a_trace_that_is_asked_for_is_recorded() -> None:
    """However seldom the ledger samples: once, and not again for whoever asks at once."""
    traceparent = asked_traceparent()

    async def scenario() -> tuple[list[Account], Monitor]:
        async with watched(SELDOM) as (monitor, accounts), called(monitor) as call:
            AMBIENT.set(Carried(math.inf, traceparent))
            for _ in range(5):
                await call(b"")
            AMBIENT.set(None)
            await call(b"")
        return accounts, monitor

    accounts, monitor = run(scenario())
    assert [account.endpoint for account in accounts] == [METHOD]
    works = monitor.traces.of(trace_id_of(traceparent))
    assert [work.account for work in works] == [*accounts, *[None] * 4]


def test_a_message_of_a_trace_that_is_asked_for() -> None:
    """What handled it is kept with its account."""
    traceparent = asked_traceparent()

    async def scenario() -> Monitor:
        bus = Bus("memory://")

        @bus.subscribe("orders.paid", group="mail")
        async def send_mail(order: int) -> None:
            await price(0.001)

        async with watched(SELDOM) as (monitor, _):
            monitor.watch(bus)
            AMBIENT.set(Carried(math.inf, traceparent))
            await handled(bus, 1)
        return monitor

    works = run(scenario()).traces.of(trace_id_of(traceparent))
    accounts = {work.kind: work.account for work in works}
    assert accounts["published"] is None
    assert accounts["handled"] is not None
    assert accounts["handled"].endpoint == CONSUMER


def test_a_capture_has_calls() -> None:
    """By endpoint, as true stacks; what the ledger would have sampled is the capture's."""

    async def scenario() -> Any:
        async with watched() as (monitor, accounts), called(monitor) as call:
            assert monitor.ledger is not None
            capture = StackCapture(monitor.ledger, asyncio.get_running_loop())
            assert capture.start()
            for _ in range(3):
                await call(b"")
            capture.stop()
            while not (capture.settled and capture.ended):
                await asyncio.sleep(0)
            assert not accounts
            return capture.result()

    result = run(scenario())
    assert result.answered == {METHOD: 3}
    waits = [[frame[0] for frame in each.frames] for each in result.stacks if each.kind is Kind.WAITING]
    assert any(names[:2] == ["quote", "price"] for names in waits)


def test_a_capture_of_one_method() -> None:
    """Others are not in it."""

    async def scenario() -> Any:
        async with watched() as (monitor, _), called(monitor) as call:
            assert monitor.ledger is not None
            capture = StackCapture(monitor.ledger, asyncio.get_running_loop(), endpoint="/t.T/Other")
            capture.start()
            await call(b"")
            capture.stop()
            while not (capture.settled and capture.ended):
                await asyncio.sleep(0)
            return capture.result()

    assert run(scenario()).answered == {}


@pytest.mark.parametrize("begun", [False, True])
def test_a_call_that_is_cancelled(*, begun: bool) -> None:
    """Its handler is told, its account is made if it began, and no coroutine is left behind."""
    outcomes: list[str] = []

    async def scenario() -> list[Account]:
        started = asyncio.Event()

        async def stuck() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                outcomes.append("cancelled")
                raise

        async with watched() as (monitor, accounts):
            assert monitor.ledger is not None
            task = asyncio.create_task(WorkRecorder(monitor.ledger).recorded(METHOD, stuck, stuck))
            if begun:
                await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gc.collect()
        return accounts

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accounts = run(scenario())
    assert outcomes == ["cancelled"] * begun
    assert [account.endpoint for account in accounts] == [METHOD] * begun


def test_a_handler_that_fails() -> None:
    """The client gets the status that it would get anyway."""

    async def failing(request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such price")
        return request

    async def scenario() -> tuple[grpc.aio.AioRpcError, list[Account]]:
        async with watched() as (monitor, accounts), called(monitor, failing) as call:
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await call(b"")
        return told.value, accounts

    error, accounts = run(scenario())
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such price")
    assert len(accounts) == 1


def test_within_a_request_it_is_the_requests() -> None:
    """Work that runs in a recorded request's own task has no account of its own."""

    async def scenario() -> None:
        async with watched() as (monitor, _):
            assert monitor.ledger is not None
            recorder, request = WorkRecorder(monitor.ledger), RequestRecord(0.0)
            REQUEST.set(request)
            assert not recorder.wants("")
            request.close()
            assert recorder.wants("")

    run(scenario())


def test_without_a_ledger_that_is_on() -> None:
    """It runs, on a loop that no ledger is attached to, and with one that has failed."""

    async def work() -> RequestRecord | None:
        return REQUEST.get()

    async def scenario() -> None:
        ledger, loop = Ledger(sample_every=1), asyncio.get_running_loop()
        recorder = WorkRecorder(ledger)
        assert not recorder.wants("")
        ledger.attach(loop)
        assert recorder.wants("")
        assert await recorder.recorded(METHOD, work, work) is not None
        ledger.fail(RuntimeError("a fault of ours"))
        assert not recorder.wants("")
        ledger.detach(loop)
        assert await recorder.recorded(METHOD, work, work) is None

    run(scenario())


def test_a_stream_without_an_end() -> None:
    """One that takes very many steps goes on, and is recorded no more: its record would fill the memory."""

    async def scenario() -> list[Account]:
        async def stream() -> int:
            request = REQUEST.get()
            assert request is not None
            for _ in range(MOST_STEPS + 10):
                await asyncio.sleep(0)
            assert request.closed
            assert not request.tasks
            return 7

        async with watched() as (monitor, accounts):
            assert monitor.ledger is not None
            assert await WorkRecorder(monitor.ledger).recorded(METHOD, stream, stream) == 7
        return accounts

    assert run(scenario()) == []

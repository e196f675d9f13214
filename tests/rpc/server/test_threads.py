"""Handlers that are ordinary functions: they run in threads, the same on grpc.aio and on hasten."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from hasten import rpc
from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected, patience
from tests.rpc.server.serving import Context, Ending, MakeServer, both_stacks, ending, ending_of, run, serving

TRAILING = (("key", "value"), ("key-bin", b"\xff"))


@both_stacks
def test_context(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Everything that a context sends and tells works from a thread."""
    seen: list[Any] = []

    def handle(_: bytes, context: Context) -> None:
        seen.append(("sent", "yes") in [tuple(pair) for pair in context.invocation_metadata()])
        seen.append(context.peer().rpartition(":")[0])
        seen.append((context.peer_identities(), context.peer_identity_key()))
        seen.append(dict(context.auth_context())["transport_security_type"])
        seen.append(0 < context.time_remaining() <= 51)
        context.send_initial_metadata((("early", "yes"),))
        context.set_trailing_metadata(TRAILING)
        context.set_code(StatusCode.NOT_FOUND)
        context.set_details("no such thing")

    metadata = (("sent", "yes"),)
    ended = ending_of(
        make_server, loop_factory, lambda stub: stub.unary(b"", timeout=50, metadata=metadata), unary=handle
    )
    assert ended == Ending(StatusCode.NOT_FOUND, "no such thing", initial=(("early", "yes"),), trailing=TRAILING)
    assert seen == [True, "ipv4:127.0.0.1", (None, None), [b"insecure"], True]


@both_stacks
def test_abort(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It raises AbortError in the thread; trailing metadata goes with it, as from an async handler."""
    raised: list[str] = []

    def handle(_: bytes, context: Context) -> None:
        try:
            context.abort(StatusCode.NOT_FOUND, "no", TRAILING)
        except BaseException as error:
            raised.append(type(error).__name__)
            raise

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle)
    assert ended == Ending(StatusCode.NOT_FOUND, "no", trailing=TRAILING)
    assert raised == ["AbortError"]


@both_stacks
def test_abort_while_reading(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """An abort in the middle of the requests ends the call."""

    def handle(each: Iterator[bytes], context: Context) -> bytes:
        for request in each:
            if request == b"2":
                context.abort(StatusCode.NOT_FOUND, "at 2")
        return b"end"

    requests = iter([b"1", b"2", b"3"])
    ended = ending_of(make_server, loop_factory, lambda stub: stub.requests(requests), requests=handle)
    assert ended == Ending(StatusCode.NOT_FOUND, "at 2")


def test_abort_in_a_generator(loop_factory: LoopFactory) -> None:
    """After a response, too, where grpc.aio now and then sends no status."""

    def handle(_: bytes, context: Context) -> Iterator[bytes]:
        yield b"1"
        context.abort(StatusCode.NOT_FOUND, "no")

    ended = ending_of(rpc.Server, loop_factory, lambda stub: stub.responses(b""), responses=handle)
    assert ended == Ending(StatusCode.NOT_FOUND, "no", (b"1",))


@both_stacks
def test_abort_with_status(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """grpcio-status' way to abort."""

    class Status(grpc.Status):
        code = StatusCode.NOT_FOUND
        details = "no"
        trailing_metadata = TRAILING

    raised: list[str] = []

    def handle(_: bytes, context: Context) -> None:
        try:
            context.abort_with_status(Status())
        except Exception as error:
            raised.append(type(error).__name__)
            raise

    ended = ending_of(make_server, loop_factory, lambda stub: stub.unary(b""), unary=handle)
    assert raised == [expected("abort_with_status in a thread", make_server)]
    if make_server is rpc.Server:
        assert ended == Ending(StatusCode.NOT_FOUND, "no", trailing=TRAILING)


@both_stacks
@pytest.mark.parametrize("kind", ["unary", "responses"])
def test_error(kind: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What a handler raises is the call's status, after what it has sent."""

    def unary(_: bytes, context: Context) -> bytes:
        raise LookupError("nothing there")

    def responses(_: bytes, context: Context) -> Iterator[bytes]:
        yield b"1"
        raise LookupError("nothing there")

    ended = ending_of(
        make_server, loop_factory, lambda stub: getattr(stub, kind)(b""), unary=unary, responses=responses
    )
    details = "Unexpected <class 'LookupError'>: nothing there"
    assert ended == Ending(StatusCode.UNKNOWN, details, (b"1",) if kind == "responses" else ())


@both_stacks
@pytest.mark.parametrize("result", [5, None])
def test_no_iterable(result: Any, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A streaming handler returns an iterable, and a list is one; anything else is an error."""
    answers = iter([result, [b"1", b"2"]])

    def handle(_: bytes, context: Context) -> Any:
        return next(answers)

    async def conversation() -> list[Ending]:
        async with serving(make_server, responses=handle) as stub:
            return [await ending(stub.responses(b"")) for _ in range(2)]

    failed, listed = run(conversation(), loop_factory)
    name = type(result).__name__
    assert failed == Ending(StatusCode.UNKNOWN, f"Unexpected <class 'TypeError'>: '{name}' object is not iterable")
    assert listed == Ending(responses=(b"1", b"2"))


@both_stacks
def test_stop_iteration(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """next() on an exhausted stream of requests raises what no future takes."""

    def handle(each: Iterator[bytes], _: Context) -> bytes:
        return next(each)

    ended = ending_of(
        make_server,
        loop_factory,
        lambda stub: stub.requests(iter([]), timeout=patience(make_server)),
        requests=handle,
    )
    assert ended == expected("a sync handler that raises StopIteration", make_server)


@both_stacks
def test_thread_pool_of_the_users(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """migration_thread_pool runs them, and goes on when the server has stopped."""
    names: list[str] = []

    def handle(request: bytes, _: Context) -> bytes:
        names.append(threading.current_thread().name)
        return request

    with ThreadPoolExecutor(1, thread_name_prefix="users") as pool:
        ended = ending_of(
            make_server, loop_factory, lambda stub: stub.unary(b"x"), unary=handle, migration_thread_pool=pool
        )
        assert ended == Ending(responses=(b"x",))
        assert pool.submit(lambda: "alive").result() == "alive"
    assert names == ["users_0"]


@both_stacks
def test_callbacks(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A callback is called without arguments when the call has ended, be it with an error."""
    called: list[str] = []

    def handle(request: bytes, context: Context) -> bytes:
        context.add_callback(lambda: called.append(request.decode()))
        if request == b"error":
            raise LookupError("nothing there")
        return request

    async def conversation() -> None:
        async with serving(make_server, unary=handle) as stub:
            await ending(stub.unary(b"fine"))
            await ending(stub.unary(b"error"))
            await ending(stub.unary(b"last"))

    run(conversation(), loop_factory)
    assert "fine" in called
    assert ("error" in called) is expected("add_callback in a thread", make_server)


def test_number_of_threads(loop_factory: LoopFactory) -> None:
    """At most 32 handlers run at once; those above wait for a thread, and async ones are served meanwhile."""
    running = most = 0
    lock, go_on = threading.Lock(), threading.Event()

    async def conversation() -> None:
        loop, full = asyncio.get_running_loop(), asyncio.Event()

        def block(_: Iterator[bytes], _context: Context) -> bytes:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
                if running == 32:
                    loop.call_soon_threadsafe(full.set)
            go_on.wait(10)
            with lock:
                running -= 1
            return b"done"

        async def echo(request: bytes, _: Context) -> bytes:
            return request

        async with serving(rpc.Server, requests=block, unary=echo) as stub:
            calls = [asyncio.create_task(ending(stub.requests(iter([b""])))) for _ in range(40)]
            await full.wait()
            assert await stub.unary(b"meanwhile") == b"meanwhile"
            go_on.set()
            assert set(await asyncio.gather(*calls)) == {Ending(responses=(b"done",))}

    run(conversation(), loop_factory)
    assert most == 32


def test_cancel_while_a_thread_runs(loop_factory: LoopFactory) -> None:
    """The thread is told by is_active() and by its next write; until it returns its place is taken."""
    go_on, ended = threading.Event(), threading.Event()
    seen: list[Any] = []

    async def conversation() -> None:
        loop, left = asyncio.get_running_loop(), asyncio.Event()

        def handle(_: bytes, context: Context) -> Iterator[bytes]:
            seen.append(context.add_callback(lambda: seen.append("callback")))
            yield b"1"
            go_on.wait(10)
            seen.append(context.is_active())
            seen.append(context.cancel())
            try:
                yield b"2"
            finally:
                ended.set()
                loop.call_soon_threadsafe(left.set)

        async with serving(rpc.Server, responses=handle, connect=rpc.Channel, maximum_concurrent_rpcs=1) as stub:
            call = stub.responses(b"")
            assert await call.read() == b"1"
            call.cancel()
            refused = await ending(stub.responses(b""))
            assert refused == Ending(StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            go_on.set()
            await left.wait()

    run(conversation(), loop_factory)
    assert ended.is_set()
    assert seen[:3] == [True, False, False]


def test_cancel_by_the_handler(loop_factory: LoopFactory) -> None:
    """context.cancel() ends the call with CANCELLED."""

    def handle(request: bytes, context: Context) -> bytes:
        assert context.cancel()
        return request

    ended = ending_of(rpc.Server, loop_factory, lambda stub: stub.unary(b""), unary=handle)
    assert (ended.code, ended.details) == (StatusCode.CANCELLED, "Cancelled by the handler")

"""A server from its constructor to its end, the same on grpc.aio and on hasten."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from hasten import ConfigurationError, rpc
from tests.conftest import LoopFactory
from tests.rpc.server.differences import expected
from tests.rpc.server.serving import (
    Context,
    Ending,
    MakeServer,
    Stub,
    both_stacks,
    ending,
    run,
    serving,
)

KINDS = ("unary", "responses", "requests", "both", "thread")
every_kind = pytest.mark.parametrize("kind", KINDS)


async def echo(request: bytes, _: Context) -> bytes:
    return request


class Held:
    """Handlers of all kinds that wait for `release`.

    Attributes:
      began: One of them has begun.
      ended: How they ended, in order: "end" or "cancelled".
    """

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._released = asyncio.Event()
        self._thread_released = threading.Event()

    def release(self) -> None:
        self._released.set()
        self._thread_released.set()

    async def _wait(self) -> None:
        self.began.set()
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("end")

    async def unary(self, request: bytes, _: Context) -> bytes:
        await self._wait()
        return request

    async def responses(self, request: bytes, _: Context) -> AsyncIterator[bytes]:
        await self._wait()
        yield request

    async def requests(self, each: AsyncIterator[bytes], _: Context) -> bytes:
        async for request in each:
            await self._wait()
            return request
        return b"none"

    async def both(self, each: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        async for request in each:
            await self._wait()
            yield request

    def thread(self, request: bytes, _: Context) -> bytes:
        self._loop.call_soon_threadsafe(self.began.set)
        self._thread_released.wait(10)
        self.ended.append("end")
        return request

    def of_kind(self, kind: str) -> dict[str, Any]:
        return {"unary" if kind == "thread" else kind: getattr(self, kind)}


def begin(stub: Stub, kind: str) -> "asyncio.Task[Ending]":
    """Make a call of a kind."""
    call = stub.unary if kind == "thread" else getattr(stub, kind)
    streams = kind in {"requests", "both"}
    return asyncio.create_task(ending(call(iter([b"x"]) if streams else b"x")))


@both_stacks
@every_kind
def test_stop_within_its_grace(kind: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Handlers that run may finish; clients that call meanwhile are sent elsewhere; then the server has stopped."""

    async def conversation() -> None:
        held = Held()
        async with serving(make_server, **held.of_kind(kind)) as stub:
            call = begin(stub, kind)
            await held.began.wait()
            stop = asyncio.create_task(stub.server.stop(30))
            other: Any = stub.channel.unary_unary("/other/Method")
            assert (await ending(other(b"", timeout=10))).code is not StatusCode.OK
            assert not stop.done()
            held.release()
            assert await call == Ending(responses=(b"x",))
            await stop
        assert held.ended == ["end"]

    run(conversation(), loop_factory)


@both_stacks
@every_kind
@pytest.mark.parametrize("grace", [None, 0, 0.05])
def test_stop_beyond_its_grace(
    grace: float | None, kind: str, make_server: MakeServer, loop_factory: LoopFactory
) -> None:
    """Then, or at once without one, calls are cut and async handlers cancelled."""

    async def conversation() -> None:
        held = Held()
        async with serving(make_server, **held.of_kind(kind)) as stub:
            call = begin(stub, kind)
            await held.began.wait()
            stop = asyncio.create_task(stub.server.stop(grace))
            ended = await call
            assert (ended.code, ended.details) == expected("a call that stop() cuts", make_server)
            held.release()
            await stop
            assert kind == "thread" or held.ended == ["cancelled"]

    run(conversation(), loop_factory)


@both_stacks
@pytest.mark.parametrize("graces", [(30, 0.05), (0.05, 30), (30, None)], ids=str)
def test_several_stops(graces: Any, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The grace that ends first counts, and every stop returns then."""

    async def conversation() -> None:
        held = Held()
        async with serving(make_server, unary=held.unary) as stub:
            call = begin(stub, "unary")
            await held.began.wait()
            first = asyncio.create_task(stub.server.stop(graces[0]))
            await asyncio.sleep(0)
            await asyncio.gather(first, stub.server.stop(graces[1]))
            assert (await call).code is not StatusCode.OK
            await stub.server.stop(None)
            await stub.server.stop(30)

    run(conversation(), loop_factory)


@both_stacks
def test_start_again(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A second start does nothing; none is possible after a stop."""

    async def conversation() -> None:
        async with serving(make_server, unary=echo) as stub:
            await stub.server.start()
            assert await stub.unary(b"x") == b"x"
            await stub.server.stop(None)
            with pytest.raises(grpc.aio.UsageError, match="Server not in ready state"):
                await stub.server.start()

    run(conversation(), loop_factory)


@both_stacks
def test_stop_before_start(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It returns at once."""

    async def conversation() -> bool:
        server = make_server()
        server.add_insecure_port("127.0.0.1:0")
        await server.stop(30)
        try:
            await server.start()
        except grpc.aio.UsageError:
            return True
        await server.stop(None)
        return False

    assert run(conversation(), loop_factory) is expected("start after a stop before it", make_server)


@both_stacks
def test_wait_for_termination(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """True when the time is over, before a start, too; False for each who waits when the server has stopped."""

    async def conversation() -> None:
        server = make_server()
        assert await server.wait_for_termination(0.01)
        await server.start()
        assert await server.wait_for_termination(timeout=0.01)
        assert await server.wait_for_termination(0)
        waiting = [asyncio.create_task(server.wait_for_termination()) for _ in range(2)]
        waiting.append(asyncio.create_task(server.wait_for_termination(30)))
        await asyncio.sleep(0)
        await server.stop(None)
        assert await asyncio.gather(*waiting) == [False] * 3
        assert not await server.wait_for_termination()
        assert not await server.wait_for_termination(0.01)

    run(conversation(), loop_factory)


def test_a_cancelled_wait_for_termination(loop_factory: LoopFactory) -> None:
    """It concerns nobody else who waits; with grpc.aio it ends them all."""

    async def conversation() -> None:
        server = rpc.Server()
        await server.start()
        cancelled, waiting = (asyncio.create_task(server.wait_for_termination()) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await server.stop(None)
        assert not await waiting

    run(conversation(), loop_factory)


@both_stacks
def test_port_after_start(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Ports are added before."""

    async def conversation() -> bool:
        async with serving(make_server, unary=echo) as stub:
            try:
                stub.server.add_insecure_port("127.0.0.1:0")
            except ConfigurationError:
                return True
            return False

    assert run(conversation(), loop_factory) is expected("a port added after start", make_server)


@both_stacks
def test_port_that_is_taken(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """RuntimeError, which names the address."""

    async def conversation() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            with pytest.raises(RuntimeError) as caught:
                make_server().add_insecure_port(address)
        reason = expected("an error of a port's", make_server)
        assert str(caught.value) == f"Failed to bind to address {address}{reason}"

    run(conversation(), loop_factory)


@both_stacks
@pytest.mark.parametrize(
    ("address", "subject"),
    [("127.0.0.1:70000", "a port above 65535"), ("127.0.0.1", "an address without a port")],
)
def test_odd_addresses(address: str, subject: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Addresses that cannot be meant."""

    async def conversation() -> bool:
        server = make_server()
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            return "not host:port" in str(error)
        await server.stop(None)
        return False

    assert run(conversation(), loop_factory) is expected(subject, make_server)

"""Constructors, several servers in a loop, and servers that nobody stops, on grpc.aio and on hasten."""

import asyncio
import gc
import weakref
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from hasten import ConfigurationError, rpc
from tests.conftest import LoopFactory
from tests.rpc.server.differences import DIFFERENCES, expected
from tests.rpc.server.serving import (
    SERVICE,
    UNARY,
    Context,
    Ending,
    MakeServer,
    both_stacks,
    ending,
    handlers_of,
    run,
    serving,
)


async def echo(request: bytes, _: Context) -> bytes:
    return request


@both_stacks
@pytest.mark.parametrize("most", [0, -1])
def test_maximum_below_one(most: int, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A server that may take no call is refused at once."""

    async def conversation() -> None:
        with pytest.raises(ValueError, match="maximum_concurrent_rpcs should be a positive integer"):
            make_server(maximum_concurrent_rpcs=most)

    run(conversation(), loop_factory)


@both_stacks
def test_invalid_interceptors(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What is no interceptor of grpc.aio's is refused at once."""

    async def conversation() -> None:
        with pytest.raises(ValueError, match="Interceptor must be ServerInterceptor") as caught:
            make_server(interceptors=["none"])
        assert str(caught.value) == expected("invalid interceptors", make_server)

    run(conversation(), loop_factory)


def test_option_of_another_type() -> None:
    """A wrong value of grpc's options is an error, which grpc.aio logs."""
    with pytest.raises(ConfigurationError, match=r"grpc\.max_receive_message_length='large'"):
        rpc.Server(options=[("grpc.max_receive_message_length", "large")])


@both_stacks
def test_unknown_options(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What has no meaning is ignored; the first of two equal ones counts."""
    options: Any = [
        ("grpc.max_receive_message_length", 100),
        ("grpc.enable_channelz", 0),
        ("users.own", "value"),
        ("grpc.max_receive_message_length", 1),
    ]

    async def conversation() -> None:
        async with serving(make_server, unary=echo, options=options) as stub:
            assert await ending(stub.unary(bytes(100))) == Ending(responses=(bytes(100),))
            assert (await ending(stub.unary(bytes(101)))).code is StatusCode.RESOURCE_EXHAUSTED

    run(conversation(), loop_factory)


@both_stacks
def test_several_servers_in_a_loop(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Each serves its own handlers, and goes on when another stops."""

    def answering(name: bytes) -> Any:
        async def handle(_: bytes, context: Context) -> bytes:
            return name

        return handle

    async def conversation() -> None:
        async with serving(make_server, unary=answering(b"first")) as first:
            async with serving(make_server, unary=answering(b"second")) as second:
                answers = await asyncio.gather(*(stub.unary(b"") for stub in (first, second) * 5))
                assert answers == [b"first", b"second"] * 5
            assert await first.unary(b"") == b"first"

    run(conversation(), loop_factory)


@both_stacks
def test_several_ports(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """One server listens on all of its ports."""

    async def conversation() -> None:
        server = make_server()
        server.add_registered_method_handlers(SERVICE, handlers_of(unary=echo))
        ports = [server.add_insecure_port("127.0.0.1:0") for _ in range(2)]
        assert len(set(ports)) == 2
        await server.start()
        for port in ports:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call: Any = channel.unary_unary(UNARY)
                assert await call(b"x") == b"x"
        await server.stop(None)

    run(conversation(), loop_factory)


@both_stacks
def test_a_server_that_is_collected(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """What becomes of a server that nobody holds, and nobody has stopped."""
    kept: list[Any] = []

    async def started() -> int:
        server = make_server()
        server.add_registered_method_handlers(SERVICE, handlers_of(unary=echo))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        kept.append(weakref.ref(server))
        return port

    async def conversation() -> StatusCode:
        port = await started()
        gc.collect()
        server = kept[0]()
        if server is None:  # grpc.aio's stops in the background
            await asyncio.sleep(0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(UNARY)
            ended = await ending(call(b"x", timeout=10))
        if server is not None:
            await server.stop(None)
        return ended.code

    assert run(conversation(), loop_factory) is expected("a server that is collected", make_server)


@both_stacks
def test_a_server_after_another_loop(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """Each loop has its own servers, one after the other in a process."""

    async def conversation() -> None:
        async with serving(make_server, unary=echo) as stub:
            assert await stub.unary(b"x") == b"x"

    for _ in range(3):
        run(conversation(), loop_factory)


def test_a_server_made_before_its_loop(loop_factory: LoopFactory) -> None:
    """It may be made, and get its ports and handlers, before there is a loop; it belongs to the one that starts it."""
    server = rpc.Server()
    server.add_registered_method_handlers(SERVICE, handlers_of(unary=echo))
    port = server.add_insecure_port("127.0.0.1:0")

    async def conversation() -> None:
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(UNARY)
            assert await call(b"x") == b"x"
        await server.stop(None)

    run(conversation(), loop_factory)


@pytest.mark.parametrize("subject", DIFFERENCES)
def test_differences(subject: str) -> None:
    """Each difference is one, and has its reason."""
    difference = DIFFERENCES[subject]
    assert difference.grpc_aio != difference.hasten
    assert difference.reason

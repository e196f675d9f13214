"""Which responses are compressed on the wire, the same on grpc.aio and on hasten."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc import Compression

from tests.conftest import LoopFactory
from tests.rpc.interop._relay import Relay
from tests.rpc.server.differences import expected
from tests.rpc.server.serving import (
    RESPONSES,
    SERVICE,
    UNARY,
    Context,
    Ending,
    MakeServer,
    both_stacks,
    ending,
    handlers_of,
    run,
)

LARGE = bytes(2000)
GZIP_SERVERS: dict[str, dict[str, Any]] = {
    "compression": {"compression": Compression.Gzip},
    "option": {"options": [("grpc.default_compression_algorithm", 2)]},
}
NO_GZIP = (("grpc.compression_enabled_algorithms_bitset", 1),)
"""The client says that it reads nothing but messages that are not compressed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a handler asks for before it responds."""

    compression: Compression | None = None
    metadata_first: bool = False
    but_for: int | None = None

    async def make(self, context: Context) -> None:
        if self.compression is not None:
            context.set_compression(self.compression)
        if self.metadata_first:
            await context.send_initial_metadata(())


async def relayed(
    make_server: MakeServer, wish: Wish, *, unary: bool, client: Any = (), **served: Any
) -> tuple[Ending, list[bool]]:
    """Make one call through a relay; return its ending, and which of its responses came compressed."""

    async def one(_: bytes, context: Context) -> bytes:
        await wish.make(context)
        if wish.but_for == 0:
            context.disable_next_message_compression()
        return LARGE

    async def three(_: bytes, context: Context) -> AsyncIterator[bytes]:
        await wish.make(context)
        for number in range(3):
            if wish.but_for == number:
                context.disable_next_message_compression()
            yield LARGE

    server, relay = make_server(**served), Relay()
    server.add_registered_method_handlers(SERVICE, handlers_of(unary=one, responses=three))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with (
        relay.to(f"127.0.0.1:{port}") as address,
        grpc.aio.insecure_channel(address, options=client) as channel,
    ):
        call: Any = channel.unary_unary(UNARY) if unary else channel.unary_stream(RESPONSES)
        ended = await ending(call(b""))
    await server.stop(None)
    (flags,) = relay.responses
    return ended, flags


def flags_of(make_server: MakeServer, loop_factory: LoopFactory, wish: Wish, **options: Any) -> list[bool]:
    ended, flags = run(relayed(make_server, wish, **options), loop_factory)
    assert ended == Ending(responses=(LARGE,) * len(flags))
    return flags


def told(*compressed: int) -> list[bool]:
    return [bool(flag) for flag in compressed]


@both_stacks
@pytest.mark.parametrize("unary", [True, False], ids=["unary", "stream"])
def test_by_default(unary: bool, make_server: MakeServer, loop_factory: LoopFactory) -> None:  # noqa: FBT001
    """Nothing is compressed."""
    flags = flags_of(make_server, loop_factory, Wish(but_for=0), unary=unary)
    assert flags == ([False] if unary else [False] * 3)


@both_stacks
@pytest.mark.parametrize("kind", [Compression.Gzip, Compression.Deflate], ids=lambda kind: kind.name)
def test_set_for_a_call(kind: Compression, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """set_compression holds for all responses but the one that disable_next_message_compression leaves out."""
    assert flags_of(make_server, loop_factory, Wish(kind, but_for=1), unary=False) == told(1, 0, 1)
    assert flags_of(make_server, loop_factory, Wish(kind, metadata_first=True), unary=True) == told(1)
    assert flags_of(make_server, loop_factory, Wish(kind, metadata_first=True, but_for=0), unary=True) == told(0)


@both_stacks
def test_set_for_a_unary_call(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """It holds for a unary response, too."""
    flags = flags_of(make_server, loop_factory, Wish(Compression.Gzip), unary=True)
    assert flags == [expected("set_compression of a unary response", make_server)]


@both_stacks
@pytest.mark.parametrize("way", GZIP_SERVERS)
def test_set_for_a_server(way: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A server's compression holds for all calls; a call may do without it, or one response of it."""
    served: Any = GZIP_SERVERS[way]
    without, but_for = Wish(Compression.NoCompression, metadata_first=True), Wish(but_for=0)
    assert flags_of(make_server, loop_factory, Wish(), unary=True, **served) == told(1)
    assert flags_of(make_server, loop_factory, but_for, unary=True, **served) == told(0)
    assert flags_of(make_server, loop_factory, without, unary=True, **served) == told(0)
    assert flags_of(make_server, loop_factory, Wish(), unary=False, **served) == told(1, 1, 1)
    assert flags_of(make_server, loop_factory, but_for, unary=False, **served) == told(0, 1, 1)
    assert flags_of(make_server, loop_factory, without, unary=False, **served) == told(0, 0, 0)


@both_stacks
def test_a_unary_call_without_the_servers(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """NoCompression holds for a unary response, too."""
    wish = Wish(Compression.NoCompression)
    flags = flags_of(make_server, loop_factory, wish, unary=True, compression=Compression.Gzip)
    assert flags == [not expected("NoCompression of a unary response", make_server)]


@both_stacks
def test_client_that_does_not_accept_it(make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """A client that reads no gzip gets none."""
    conversation = relayed(make_server, Wish(), unary=True, client=NO_GZIP, compression=Compression.Gzip)
    ended, _ = run(conversation, loop_factory)
    assert ended == expected("compression for a client that does not accept it", make_server)

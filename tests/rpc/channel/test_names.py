"""Names are resolved, and resolved again; addresses come and go without a call being lost."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode

import hasten.rpc
from tests.rpc.channel._dispatching import Clock, Names, dispatching, resolve_again, subchannels, until_ready
from tests.rpc.channel._service import (
    HOLD,
    KINDS,
    Service,
    code_of,
    every_kind,
    failure_of,
    in_loops,
    outcome_of,
    serve,
    unary,
)
from tests.rpc.interop._stacks import Stack

HASTEN = Stack.HASTEN
STOCK = "dns:///stock:50051"
AT_ONCE = [
    ("grpc.dns_min_time_between_resolutions_ms", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
]


@in_loops
async def test_resolved_with_the_first_call() -> None:
    """A name is asked for when it is needed, once."""
    async with serve(HASTEN, Service()) as address:
        names = Names(address)
        async with dispatching(STOCK, lookup=names) as channel:
            assert names.asked == 0
            await asyncio.gather(*(unary(channel) for _ in range(10)))
            assert names.asked == 1


@in_loops
async def test_no_such_name() -> None:
    """A name without addresses makes UNAVAILABLE of calls, with the resolver's reason, until it has some."""
    async with serve(HASTEN, Service()) as address:
        names = Names()
        async with dispatching(STOCK, lookup=names, options=AT_ONCE) as channel:
            error = await failure_of(unary(channel))
            assert error.code() is StatusCode.UNAVAILABLE
            assert error.details() == f"DNS resolution failed for {STOCK}: no such name here"
            assert channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
            names.found = (address,)
            assert await unary(channel, wait_for_ready=True) == b"a"


@every_kind
@in_loops
async def test_moved(kind: str) -> None:
    """When a server has moved, the loss of its connection makes the channel ask again and find it."""
    async with serve(HASTEN, new := Service()) as elsewhere:
        names = Names()
        async with dispatching(STOCK, lookup=names, options=AT_ONCE) as channel:
            async with serve(HASTEN, Service()) as address:
                names.found = (address,)
                await unary(channel, wait_for_ready=True)
                names.found = (elsewhere,)
            assert await outcome_of(KINDS[kind](channel, b"a", wait_for_ready=True)) == [b"a"]
        assert len(new.calls) == 1


@in_loops
async def test_not_asked_too_often() -> None:
    """Between two resolutions there is the least time that the option says, however often connections are lost."""
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.dns_min_time_between_resolutions_ms", 1_000_000)]
    names = Names()
    async with dispatching(STOCK, lookup=names, clock=Clock(), options=options) as channel:
        for _ in range(2):
            async with serve(HASTEN, Service()) as address:
                if not names.found:
                    names.found = (address,)
                await code_of(unary(channel))
        assert await code_of(unary(channel)) is StatusCode.UNAVAILABLE
    assert names.asked == 1


@in_loops
async def test_a_failure_keeps_the_addresses() -> None:
    """A name that cannot be resolved any more is still called where it was."""
    async with serve(HASTEN, Service()) as stays:
        names = Names()
        async with dispatching(STOCK, lookup=names, options=AT_ONCE, balancing="round_robin") as channel:
            async with serve(HASTEN, Service()) as goes:
                names.found = (stays, goes)
                await unary(channel)
                await until_ready(channel)
                names.found = ()
            await names.until_asked(2)
            for _ in range(4):
                assert await unary(channel) == b"a"


@pytest.mark.parametrize("balancing", ["pick_first", "round_robin", "p2c"])
@every_kind
@in_loops
async def test_an_address_vanishes(kind: str, balancing: Any) -> None:
    """Calls at an address that is no longer the name's end where they are; new ones go elsewhere; then it is closed."""
    async with serve(HASTEN, old := Service()) as one, serve(HASTEN, new := Service()) as other:
        names = Names(one)
        async with dispatching(STOCK, lookup=names, options=AT_ONCE, balancing=balancing) as channel:
            outcome = asyncio.ensure_future(outcome_of(KINDS[kind](channel, HOLD)))
            await old.until(lambda service: service.held == 1)
            (connection,) = subchannels(channel)[0].connections()
            await resolve_again(channel, names, other)
            for _ in range(3):
                assert await unary(channel, wait_for_ready=True) == b"a"
            assert not outcome.done()
            old.release()
            assert HOLD in await outcome
            await connection.lost
        assert (len(old.calls), len(new.calls)) == (1, 3)


@in_loops
async def test_an_address_appears() -> None:
    """A new address of the name gets its share of the calls; those that were there stay connected."""
    async with serve(HASTEN, one := Service()) as first, serve(HASTEN, other := Service()) as second:
        names = Names(first)
        async with dispatching(STOCK, lookup=names, options=AT_ONCE, balancing="round_robin") as channel:
            await unary(channel)
            before = subchannels(channel)[0].connection
            await resolve_again(channel, names, first, second)
            await until_ready(channel)
            for _ in range(10):
                await unary(channel)
            assert subchannels(channel)[0].connection is before
        assert (len(one.calls), len(other.calls)) == (6, 5)


@pytest.mark.parametrize("balancing", ["pick_first", "round_robin", "p2c"])
@in_loops
async def test_no_call_is_lost(balancing: Any) -> None:
    """Under load a service moves again and again, each server stops gracefully, and no call fails."""

    async def work(channel: Any) -> list[StatusCode]:
        codes = []
        while not stop.is_set():
            codes.append(await code_of(unary(channel, wait_for_ready=True)))
        return codes

    names, stop = Names(), asyncio.Event()
    async with dispatching(STOCK, lookup=names, options=AT_ONCE, balancing=balancing) as channel:
        server, service, address = await started()
        names.found = (address,)
        workers = [asyncio.create_task(work(channel)) for _ in range(20)]
        for _ in range(3):
            await service.until(lambda service: service.ended >= 50)
            previous = server
            server, service, address = await started()
            await resolve_again(channel, names, address)
            await previous.stop(10)
        await service.until(lambda service: service.ended >= 50)
        stop.set()
        assert {code for worker in workers for code in await worker} == {StatusCode.OK}
    await server.stop(None)


async def started() -> tuple[hasten.rpc.Server, Service, str]:
    """Return a new server, its service and its address."""
    server, service = hasten.rpc.Server(), Service()
    service.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, service, f"127.0.0.1:{port}"

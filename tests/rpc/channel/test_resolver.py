"""Names become addresses, not too often, and whatever happens in between."""

import asyncio
import socket
from collections.abc import Sequence

import pytest

from hasten.rpc.channel._backoff import Backoff, BackoffPolicy
from hasten.rpc.channel._resolver import Lookup, ResolutionError, Resolver, system_lookup
from hasten.rpc.channel._target import Address, parse_target
from tests.conftest import LoopFactory


def ipv4(host: str, port: int = 1) -> Address:
    return Address(socket.AF_INET, (host, port))


class Names:
    """A name service whose answers are set by the test; a name without an answer is unknown."""

    def __init__(self, **answers: Sequence[Address]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    async def lookup(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append((host, port))
        if host not in self.answers:
            raise ResolutionError(host, "unknown")
        return self.answers[host]


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def resolver(target: str | Sequence[str], lookup: Lookup, clock: Clock | None = None) -> Resolver:
    """Return a resolver whose backoff has no jitter."""
    backoff = Backoff(lambda: 0.5, BackoffPolicy(jitter=0.0))
    return Resolver(parse_target(target), backoff, lookup=lookup, clock=clock or Clock())


# ---- what comes back


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        ("dns:///127.0.0.1:1", [ipv4("127.0.0.1")]),
        ("ipv4:127.0.0.1:1,127.0.0.2:2", [ipv4("127.0.0.1"), ipv4("127.0.0.2", 2)]),
        ("ipv6:[::1]:1", [Address(socket.AF_INET6, ("::1", 1, 0, 0))]),
        ("unix:/s", [Address(socket.AF_UNIX, "/s")]),
        ("unix-abstract:s", [Address(socket.AF_UNIX, "\0s")]),
        (["dns:127.0.0.1:1", "ipv4:127.0.0.1:1", "unix:s"], [ipv4("127.0.0.1"), Address(socket.AF_UNIX, "s")]),
    ],
)
def test_static_targets(target: str | Sequence[str], addresses: list[Address]) -> None:
    """IP addresses and sockets are addresses already: nobody is asked, and asking again is never worth it."""
    names = Names()
    static = resolver(target, names.lookup)
    assert static.static
    assert list(asyncio.run(static.resolve())) == addresses
    assert static.request() is None
    assert names.asked == []


def test_names_are_resolved_in_order_without_repeats() -> None:
    """Addresses keep the target's order, then the resolver's; the same one is used once."""
    names = Names(a=[ipv4("10.0.0.2"), ipv4("10.0.0.1"), ipv4("10.0.0.2")], b=[ipv4("10.0.0.1"), ipv4("10.0.0.3")])
    found = asyncio.run(resolver(["b:1", "ipv4:10.0.0.9:1", "a:2"], names.lookup).resolve())
    assert found == (ipv4("10.0.0.1"), ipv4("10.0.0.3"), ipv4("10.0.0.9"), ipv4("10.0.0.2"))
    assert sorted(names.asked) == [("a", 2), ("b", 1)]


def test_every_resolution_asks_again() -> None:
    """Nothing is remembered from one resolution to the next."""
    names = Names(a=[ipv4("10.0.0.1")])
    dynamic = resolver("a:1", names.lookup)
    asyncio.run(dynamic.resolve())
    names.answers = {"a": [ipv4("10.0.0.2")]}
    assert asyncio.run(dynamic.resolve()) == (ipv4("10.0.0.2"),)


def test_unknown_name() -> None:
    """A name without an address is an error that carries the name and the reason."""
    with pytest.raises(ResolutionError, match=r"^name resolution failed for a: unknown$") as caught:
        asyncio.run(resolver("a:1", Names().lookup).resolve())
    assert (caught.value.name, caught.value.reason) == ("a", "unknown")


def test_empty_answer() -> None:
    """An answer without addresses is a failure too."""
    with pytest.raises(ResolutionError, match="no address"):
        asyncio.run(resolver("a:1", Names(a=[]).lookup).resolve())


def test_one_of_several_names_unknown() -> None:
    """While some names have addresses these are used, and the resolver says that some are missing."""
    names = Names(b=[ipv4("10.0.0.1")])
    dynamic = resolver(["a:1", "b:1"], names.lookup)
    assert asyncio.run(dynamic.resolve()) == (ipv4("10.0.0.1"),)
    assert dynamic.incomplete
    names.answers["a"] = [ipv4("10.0.0.2")]
    assert asyncio.run(dynamic.resolve()) == (ipv4("10.0.0.2"), ipv4("10.0.0.1"))
    assert not dynamic.incomplete


# ---- when it may be asked again


def test_first_resolution_at_once() -> None:
    """The first request waits for nothing; a second one before it has begun changes nothing."""
    dynamic = resolver("a:1", Names().lookup)
    assert dynamic.request() == 0.0
    assert dynamic.request() is None


def test_half_a_minute_between_resolutions() -> None:
    """After a success the next resolution begins 30 s after the last one began, not sooner."""
    clock = Clock()
    dynamic = resolver("a:1", Names(a=[ipv4("10.0.0.1")]).lookup, clock)
    asyncio.run(dynamic.resolve())
    clock.now += 12.0
    assert dynamic.request() == 18.0
    assert dynamic.request() is None
    clock.now += 18.0
    asyncio.run(dynamic.resolve())
    clock.now += 31.0
    assert dynamic.request() == 0.0


def test_backoff_after_failures() -> None:
    """After failures the next resolution waits for the backoff instead: 1 s, then 1.6 s; a success ends that."""
    clock, names = Clock(), Names()
    dynamic = resolver("a:1", names.lookup, clock)
    for pause in (1.0, 1.6):
        with pytest.raises(ResolutionError):
            asyncio.run(dynamic.resolve())
        assert dynamic.request() == pytest.approx(pause)
        clock.now += pause
    names.answers["a"] = [ipv4("10.0.0.1")]
    asyncio.run(dynamic.resolve())
    assert dynamic.request() == pytest.approx(30.0)


# ---- cancellation and the system


def test_no_request_while_resolving() -> None:
    """While a resolution runs there is nothing to ask for."""

    async def scenario() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def lookup(_host: str, _port: int) -> Sequence[Address]:
            asked.set()
            await answer.wait()
            return [ipv4("10.0.0.1")]

        dynamic = resolver("a:1", lookup)
        running = asyncio.create_task(dynamic.resolve())
        await asked.wait()
        assert dynamic.request() is None
        answer.set()
        assert await running == (ipv4("10.0.0.1"),)
        assert dynamic.request() == pytest.approx(30.0)

    asyncio.run(scenario())


def test_cancelled_resolution_leaves_nothing_behind(loop_factory: LoopFactory) -> None:
    """A cancelled resolution ends its lookups and counts as not begun: the next request waits for nothing."""

    async def scenario() -> None:
        asked: set[str] = set()
        both = asyncio.Event()

        async def lookup(host: str, _port: int) -> Sequence[Address]:
            asked.add(host)
            if len(asked) == 2:
                both.set()
            await asyncio.get_running_loop().create_future()
            return []

        dynamic = resolver(["a:1", "b:1"], lookup)
        running = asyncio.create_task(dynamic.resolve())
        await both.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert dynamic.request() == 0.0
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_system_lookup(loop_factory: LoopFactory) -> None:
    """The system's resolver gives stream addresses with the port, ready to connect to."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        found = runner.run(system_lookup("localhost", 50051))
    assert {address.family for address in found} <= {socket.AF_INET, socket.AF_INET6}
    assert {address.sockaddr[1] for address in found} == {50051}
    assert len(found) == len(set(found)) >= 1


@pytest.mark.parametrize("zone", [socket.if_indextoname(1), "1"])
def test_zones(zone: str, loop_factory: LoopFactory) -> None:
    """An IPv6 address keeps its zone, by the interface's number, on every event loop."""
    zoned = Resolver(parse_target(f"ipv6:[fe80::1%25{zone}]:5"), Backoff(lambda: 0.5))
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(zoned.resolve()) == (Address(socket.AF_INET6, ("fe80::1", 5, 0, 1)),)


@pytest.mark.parametrize("host", ["a..b", "fe80::1%no-such-zone", "a" * 64 + ".b"])
def test_system_lookup_fails(host: str, loop_factory: LoopFactory) -> None:
    """Whatever the system refuses is a ResolutionError with its reason."""
    with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(ResolutionError) as caught:
        runner.run(system_lookup(host, 50051))
    assert caught.value.name == host
    assert caught.value.reason

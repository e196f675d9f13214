"""A channel whose dispatcher has a clock and a name resolution of the test's own."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import hasten.rpc
from hasten.rpc.channel._dispatcher import CallDispatcher
from hasten.rpc.channel._resolver import ResolutionError
from hasten.rpc.channel._subchannel import Subchannel
from hasten.rpc.channel._target import Address, parse_target


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Names:
    """A name resolution that answers with what the test has set.

    Attributes:
      found: Addresses as `host:port`; none is an error.
      asked: How often it was asked.
    """

    def __init__(self, *found: str) -> None:
        self.found = found
        self.asked = 0
        self._asked = asyncio.Event()

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked += 1
        self._asked.set()
        if not self.found:
            raise ResolutionError(host, "no such name here")
        return [address_of(each) for each in self.found]

    async def until_asked(self, times: int) -> None:
        """Wait until it was asked so often."""
        while self.asked < times:
            self._asked.clear()
            await self._asked.wait()


def address_of(text: str) -> Address:
    """Return the address that `127.0.0.1:port` means."""
    ((host, port),) = [place for place in parse_target(f"ipv4:{text}").endpoints if isinstance(place, tuple)]
    return Address(2, (host, port))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def dispatching(target: str | Sequence[str], **settings: Any) -> AsyncIterator[hasten.rpc.Channel]:
    """Yield a channel.

    Args:
      settings: `clock` and `lookup` are the dispatcher's, the others the channel's.
    """
    own = {name: settings.pop(name) for name in ("clock", "lookup") if name in settings}
    channel = hasten.rpc.Channel(target, **settings)
    channel._dispatcher = CallDispatcher(asyncio.get_running_loop(), channel._route, **own)
    async with channel:
        yield channel


def subchannels(channel: hasten.rpc.Channel) -> list[Subchannel]:
    """Return a channel's subchannels, in the resolver's order."""
    assert channel._dispatcher is not None
    return list(channel._dispatcher._subchannels.values())


async def resolve_again(channel: hasten.rpc.Channel, names: Names, *found: str) -> None:
    """Let a name have other addresses, and the channel find that out."""
    assert channel._dispatcher is not None
    names.found = found
    channel._dispatcher._resolve()
    while [each.address for each in subchannels(channel)] != [address_of(each) for each in found]:
        await asyncio.sleep(0)


async def until_ready(channel: hasten.rpc.Channel, number: float = math.inf) -> None:
    """Wait until so many addresses are connected, all of them without a number."""
    await channel.channel_ready()
    while sum(each.ready for each in subchannels(channel)) < min(number, len(subchannels(channel))):
        await asyncio.sleep(0)

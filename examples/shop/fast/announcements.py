"""What is invalid, told to all processes of the shop through the broker: for `freshness`, where there is no Redis.

`hasten.cache` asks for this again and again while the broker is away; so the bus is opened when it listens, and a
process starts without a broker.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack

from hasten.events import Broadcast, BrokerUnavailable, Bus


class Announcements:
    """Bytes to every process that listens, by a bus of its own."""

    def __init__(self, broker: str, topic: str) -> None:
        self.name = topic
        self._broker = broker
        self._opened = AsyncExitStack()
        self._broadcast: Broadcast | None = None

    async def listen(self, receive: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        """Hear what is sent from now on, until `aclose`."""
        async with AsyncExitStack() as stack:
            broadcast = Broadcast(await stack.enter_async_context(Bus(self._broker)), self.name)
            await broadcast.listen(receive, missed)
            stack.push_async_callback(broadcast.aclose)
            self._opened, self._broadcast = stack.pop_all(), broadcast

    async def send(self, body: bytes) -> None:
        """Send to all who listen."""
        if self._broadcast is None:
            raise BrokerUnavailable(self.name, "is not connected")
        await self._broadcast.send(body)

    async def aclose(self) -> None:
        """Hear no more."""
        self._broadcast = None
        await self._opened.aclose()

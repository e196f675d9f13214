"""What a member sends, put together: one round trip at a time carries all that came up during the last one."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hasten.cache.backplanes._announcing import Announcing, Batch
from hasten.cache.backplanes._messages import Acknowledgement, Announcement, encode
from hasten.cache.backplanes._patience import patience
from hasten.cache.backplanes._redis_link import Command, Commands, RedisLink

_Answered = Callable[[Any], None]


class Outbox:
    """Sends announcements, acknowledgements and registrations on one connection, until that is lost.

    Args:
      timeout: Seconds for a round trip.
    """

    def __init__(
        self, link: RedisLink, commands: Commands, announcing: Announcing, *, member: str, timeout: float
    ) -> None:
        self._link = link
        self._commands = commands
        self._announcing = announcing
        self._member = member
        self._timeout = timeout
        self._wanted = asyncio.Event()
        self._lost = False
        self._asked: list[tuple[Command, asyncio.Future[Any]]] = []
        self._applied: defaultdict[str, list[int]] = defaultdict(list)

    def wake(self) -> None:
        """Send, in the next pass of the loop, what there is."""
        self._wanted.set()

    def acknowledge(self, member: str, number: int) -> None:
        """Tell a member that we have applied its batch."""
        self._applied[member].append(number)
        self._wanted.set()

    async def ask(self, command: Command) -> Any:
        """Return the reply to a command.

        Raises:
          ConnectionError: the connection is lost.
        """
        if self._lost:
            raise ConnectionError("the connection is lost")
        future = asyncio.get_running_loop().create_future()
        self._asked.append((command, future))
        self._wanted.set()
        return await future

    async def run(self) -> None:
        """Send until it fails, and then say so to all who wait.

        Raises:
          RedisError, OSError, TimeoutError: the connection is of no use any more.
        """
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._send_all()
        finally:
            self._lost = True
            for _, future in self._asked:
                _lose(future)

    async def _send_all(self) -> None:
        batches = self._announcing.take_all()
        asked, self._asked = self._asked, []
        sent = [self._announcement(batch) for batch in batches]
        sent += [(command, _setter(future)) for command, future in asked]
        sent += self._acknowledgements()
        try:
            async with patience(self._timeout):
                replies = await self._link.ask([command for command, _ in sent])
        except BaseException:
            self._announcing.fail(batches)
            for _, future in asked:
                _lose(future)
            raise
        for (_, answered), reply in zip(sent, replies, strict=True):
            answered(reply)

    def _announcement(self, batch: Batch) -> tuple[Command, _Answered]:
        content = batch.invalidation()
        message = encode(Announcement(1, self._member, batch.number, content.keys, content.tags))

        def answered(reply: tuple[int, list[bytes]]) -> None:
            unsettled, members = reply
            others = [name for name in map(bytes.decode, members) if name != self._member]
            self._announcing.sent(batch, others, in_full=bool(unsettled))

        return self._commands.announce(message), answered

    def _acknowledgements(self) -> list[tuple[Command, _Answered]]:
        """One message to each member of which we have applied something, however much that is."""
        applied, self._applied = self._applied, defaultdict(list)
        return [
            (self._commands.acknowledge(member, encode(Acknowledgement(1, self._member, tuple(numbers)))), _ignore)
            for member, numbers in applied.items()
        ]


def _setter(future: "asyncio.Future[Any]") -> _Answered:
    def answered(reply: Any) -> None:
        if not future.done():
            future.set_result(reply)

    return answered


def _ignore(_: Any) -> None:
    """How many heard an acknowledgement does not matter."""


def _lose(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(ConnectionError("the connection is lost"))
        future.exception()  # whoever waits may be gone

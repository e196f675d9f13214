"""What a member sends, put together: one round trip at a time carries all that came up during the last one."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from hasten.cache.backplanes._announcing import Announcing, Batch
from hasten.cache.backplanes._messages import Acknowledgement, Announcement, Departure, encode
from hasten.cache.backplanes._patience import Patience
from hasten.cache.backplanes._redis_link import NO_MEMBER, Command, Commands, RedisLink
from hasten.cache.backplanes._standing import Standing


class _Request(NamedTuple):
    """A command, what is done with its reply, and what is done when there will be none."""

    command: Command
    answered: Callable[[Any], None]
    lost: Callable[[], None]


class Outbox:
    """Sends beats, announcements and acknowledgements on one connection, until that is lost.

    It keeps our standing in the set, for replies say something about it: they are taken in the order of the commands,
    and before the next command is made.

    Args:
      member: Our name.
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
        self._standing = Standing(announcing.patience)
        self._wanted = asyncio.Event()
        self._lost = False
        self._asked: list[_Request] = []
        self._applied: defaultdict[str, list[int]] = defaultdict(list)

    def wake(self) -> None:
        """Send, in the next pass of the loop, what there is."""
        self._wanted.set()

    def acknowledge(self, member: str, number: int) -> None:
        """Tell a member that we have applied its batch."""
        self._applied[member].append(number)
        self._wanted.set()

    async def beat(self, message: bytes) -> None:
        """Have our place in the set renewed and a message sent to us; return when Redis has done so.

        Raises:
          ConnectionError: the connection is lost.
        """
        standing = self._standing

        def answered(reply: tuple[int, int]) -> None:
            stood, tick = reply
            standing.beaten(tick, monotonic(), stood=bool(stood))

        await self._ask(self._commands.beat(standing.tick, standing.over(monotonic()), message), answered)

    async def leave(self) -> None:
        """Be in the set no more, and tell those who may be waiting for us just now; see `beat`."""
        await self._ask(self._commands.leave(encode(Departure(self._member))), _ignore)

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
            for request in self._asked:
                request.lost()

    async def _ask(self, command: Command, answered: Callable[[Any], None]) -> None:
        """Send a command and return when the reply has been taken."""
        if self._lost:
            raise ConnectionError("the connection is lost")
        done = asyncio.get_running_loop().create_future()

        def take(reply: Any) -> None:
            answered(reply)
            if not done.done():
                done.set_result(None)

        self._asked.append(_Request(command, take, partial(_lose, done)))
        self._wanted.set()
        await done

    async def _send_all(self) -> None:
        requests = [*map(self._announcement, self._announcing.take_all()), *self._asked, *self._acknowledgements()]
        self._asked = []
        try:
            async with Patience(self._timeout):
                replies = await self._link.ask([request.command for request in requests])
            for request, reply in zip(requests, replies, strict=True):
                request.answered(reply)
        except BaseException:
            for request in requests:  # what has been answered does not mind
                request.lost()
            raise

    def _announcement(self, batch: Batch) -> _Request:
        content, standing = batch.invalidation(), self._standing
        message = encode(Announcement(self._member, batch.number, content.keys, content.tags))

        def answered(reply: tuple[int, list[bytes]]) -> None:
            last_tick, found = reply
            if last_tick:
                standing.saw(last_tick, monotonic())
            names = [name.decode(errors="replace") for name in found]  # somebody else may have written into it
            members = [name for name in names if name != self._member and not name.startswith(NO_MEMBER)]
            self._announcing.sent(batch, members, strangers=self._commands.mark not in names)

        command = self._commands.announce(standing.tick, standing.over(monotonic()), message)
        return _Request(command, answered, partial(self._announcing.fail, (batch,)))

    def _acknowledgements(self) -> list[_Request]:
        """One message to each member of which we have applied something, however much that is."""
        applied, self._applied = self._applied, defaultdict(list)
        return [
            _Request(
                self._commands.tell(member, encode(Acknowledgement(self._member, tuple(numbers)))), _ignore, _ignore
            )
            for member, numbers in applied.items()
        ]


def _ignore(_: Any = None) -> None:
    """How many heard a message does not matter; nor that nobody did."""


def _lose(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_exception(ConnectionError("the connection is lost"))
        done.exception()  # whoever waits may be gone

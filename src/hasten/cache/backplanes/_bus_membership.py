"""A member among processes that listen to one broadcast, from a start to its end; `bus` says how it works."""

import asyncio
import contextvars
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from time import monotonic
from typing import Any, Protocol

import msgspec

from hasten._core.errors import HastenError
from hasten.cache._backplane import Invalidation, Listener
from hasten.cache.backplanes._announcing import Announcing, Batch
from hasten.cache.backplanes._messages import Announcement, Departure

_DEAF = 2.0  # so many times the trust without hearing our own beats
_PAUSE = 0.1  # part of the trust until it is tried again to listen, or to beat
_logger = logging.getLogger("hasten.cache")


class Broadcast(Protocol):
    """Bytes to every process that listens now, this one too; `hasten.events.Broadcast` is one.

    Attributes:
      name: For messages and metrics.
    """

    name: str

    async def listen(self, receive: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        """Hear what is sent from now on, what one process sends in its order, until `aclose`.

        Args:
          receive: Takes a message in the loop's thread.
          missed: Called where messages may have been missed, before the first one behind the gap.
        Raises:
          HastenError: it cannot be done now.
        """

    def send(self, body: bytes) -> Awaitable[None]:
        """Send to all; the answer comes when each listener will receive it before what is sent from then on.

        Raises:
          HastenError: it is not known to have been sent.
        """

    async def aclose(self) -> None:
        """Hear no more."""


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """A member is there, and may have trust from now on."""

    member: str
    number: int


class Echo(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """To its sender: so far he has heard everything."""

    member: str
    number: int


class Applied(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """A member has applied these batches of another one."""

    member: str
    announcer: str
    numbers: tuple[int, ...]


Message = Announcement | Departure | Heartbeat | Echo | Applied
_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Message] = msgspec.msgpack.Decoder(Message).decode


class Membership:
    """From a start to its end: hears all, beats, and announces."""

    def __init__(
        self, broadcast: Broadcast, listener: Listener, announcing: Announcing, *, trust: float, settled: bool
    ) -> None:
        self._member = secrets.token_hex(8)
        self._broadcast = broadcast
        self._listener = listener
        self._announcing = announcing
        self._trust = trust
        self._settled = settled
        self._numbers = count(1)
        self._others: dict[str, float] = {}  # when a beat of each was heard last
        self._given: dict[int, float] = {}  # what our beats give trust from when they come back, by their numbers
        self._echoes: dict[int, asyncio.Future[None]] = {}
        self._applied: dict[str, list[int]] = {}  # by announcer, not yet said
        self._woken = False
        self._work: set[asyncio.Task[None]] = set()
        self._joined = False
        self._left = False
        self._blind_until = 0.0  # there may be trust until then from beats that we have not heard
        self._first_try: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_ill = False  # as the log has it
        self._heard_at = 0.0  # a beat of our own

    def end(self) -> None:
        """Hear nothing any more, and give no trust."""
        self._left = True
        self._joined = False

    async def has_joined(self) -> bool:
        """Wait for the end of the first try; return whether we are a member."""
        if not self._first_try.done():
            await asyncio.wait((self._first_try,))
        return self._joined

    def wake(self) -> None:
        """Send what is announced in this pass of the loop."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._send_batches, context=contextvars.Context())

    # ---- living

    async def run(self) -> None:
        """Listen and beat; listen again when beats do not come back."""
        try:
            while True:
                if await self._attempt(self._broadcast.listen(self._hear, self._miss)):
                    if not self._settled:
                        self._blind_until = monotonic() + self._announcing.patience
                    self._listener.distrust()
                    await self._beat_while_heard()
                    self._joined = False
                    await self._broadcast.aclose()
                self._end_first_try()
                await asyncio.sleep(_PAUSE * self._trust)
        finally:
            self._joined = False
            for work in self._work:
                work.cancel()
            self._end_first_try()

    async def _beat_while_heard(self) -> None:
        """Beat, until we do not hear ourselves though the broker confirms it: it has lost what we listen by."""
        confirmed: float | None = None  # when the last beat was sent, if it was confirmed
        self._heard_at = monotonic()
        while confirmed is None or confirmed - self._heard_at < _DEAF * self._trust:
            sent = monotonic()
            is_first = confirmed is None
            ok = await self._beat(confirmed)
            confirmed = sent if ok else None
            if not ok:
                self._heard_at = monotonic()
                self._end_first_try()
                await asyncio.sleep(_PAUSE * self._trust)
            elif not is_first:  # behind the first one the next is sent at once: it is by that one that this one counts
                await asyncio.sleep(self._trust / 3)
        _logger.warning("%s: backplane: does not hear itself; it listens anew", self._broadcast.name)

    async def _beat(self, confirmed: float | None) -> bool:
        """Send a beat, and return whether it was confirmed.

        Args:
          confirmed: When the one before was sent, which this one gives trust from.
        """
        number = next(self._numbers)
        self._given = {number: since for number, since in self._given.items() if since + self._trust > monotonic()}
        if confirmed is not None:
            self._given[number] = confirmed
        return await self._attempt(self._broadcast.send(_encode(Heartbeat(self._member, number))))

    async def leave(self) -> None:
        """Say that we are gone; if that cannot be done others wait for us, once."""
        await self._attempt(self._broadcast.send(_encode(Departure(self._member))))

    async def _attempt(self, work: Awaitable[None]) -> bool:
        """Return whether something was done in half of the trust; say in the log when that changes."""
        try:
            async with asyncio.timeout(self._trust / 2):
                await work
        except (HastenError, TimeoutError) as error:
            if not self._is_ill:
                self._is_ill = True
                _logger.warning("%s: backplane lost: %s: %s", self._broadcast.name, type(error).__name__, error)
            return False
        self._is_ill = False
        return True

    def _end_first_try(self) -> None:
        if not self._first_try.done():
            self._first_try.set_result(None)

    # ---- announcing

    def _send_batches(self) -> None:
        self._woken = False
        if self._left:
            return
        for batch in self._announcing.take_all():
            self._spawn(self._send_batch(batch))

    async def _send_batch(self, batch: Batch) -> None:
        """Send a batch, and learn who must acknowledge it."""
        invalidation = batch.invalidation()
        announcement = Announcement(self._member, batch.number, invalidation.keys, invalidation.tags)
        try:
            if not await self._attempt(self._broadcast.send(_encode(announcement))):
                self._announcing.fail((batch,))
                return
            known = await self._attempt(self._echo())
        except asyncio.CancelledError:
            self._announcing.fail((batch,))
            raise
        now = monotonic()
        over = now - self._announcing.patience
        self._others = {member: heard for member, heard in self._others.items() if heard > over}
        self._announcing.sent(batch, self._others, strangers=not known or now < self._blind_until)

    async def _echo(self) -> None:
        """Return when everything has been heard that was confirmed before."""
        number = next(self._numbers)
        heard = self._echoes[number] = asyncio.get_running_loop().create_future()
        try:
            await self._broadcast.send(_encode(Echo(self._member, number)))
            await heard
        finally:
            del self._echoes[number]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    # ---- hearing

    def _miss(self) -> None:
        """Forget what may be invalid: something was announced that we have not heard, perhaps; or somebody has come."""
        self._blind_until = monotonic() + self._announcing.patience
        if not self._left:
            self._listener.distrust()

    def _hear(self, data: bytes) -> None:
        if self._left:
            return
        try:
            self._take(_decode(data))
        except Exception as error:  # whoever announced it waits until our trust is over
            unreadable = isinstance(error, msgspec.DecodeError | UnicodeDecodeError)
            _logger.warning(
                "%s: backplane: the memory is emptied: %s: %s",
                self._broadcast.name,
                type(error).__name__,
                error,
                exc_info=None if unreadable else error,
            )
            self._miss()

    def _take(self, message: Message) -> None:
        if isinstance(message, Announcement):
            if message.member != self._member:  # our own was applied before it was sent
                self._apply(message)
        elif isinstance(message, Heartbeat):
            self._hear_beat(message)
        elif isinstance(message, Applied):
            if message.announcer == self._member:
                self._announcing.acknowledged(message.member, message.numbers)
        elif isinstance(message, Departure):
            self._others.pop(message.member, None)
            self._announcing.departed(message.member)
        elif message.member == self._member and (echo := self._echoes.get(message.number)) and not echo.done():
            echo.set_result(None)

    def _apply(self, message: Announcement) -> None:
        self._listener.apply(Invalidation(message.keys, message.tags))
        if not self._applied:
            asyncio.get_running_loop().call_soon(self._acknowledge, context=contextvars.Context())
        self._applied.setdefault(message.member, []).append(message.number)

    def _acknowledge(self) -> None:
        applied, self._applied = self._applied, {}
        if self._left:
            return
        for announcer, numbers in applied.items():
            message = _encode(Applied(self._member, announcer, tuple(numbers)))
            self._spawn(self._say(message))

    async def _say(self, message: bytes) -> None:
        await self._attempt(self._broadcast.send(message))

    def _hear_beat(self, message: Heartbeat) -> None:
        now = monotonic()
        if message.member != self._member:
            self._others[message.member] = now
            return
        self._heard_at = now
        since = self._given.pop(message.number, None)
        if since is not None:
            self._joined = True
            self._listener.trust(since + self._trust)
            self._end_first_try()

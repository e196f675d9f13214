"""What the callers of one pass of the loop ask of a Redis server, sent together: one round trip for all of them.

A caller makes a `Request`, puts it into the server's `Batches` and awaits its answer. A sender, a task of our own,
takes what has been put there until the loop's next pass. Callers never touch a connection, so one that is cancelled
cannot leave its reply for another (CVE-2023-28858), and however many there are, no more than `most_at_once` connections
are in use.
"""

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from hasten.cache._store import StoreError, StoreTimeout

Command = tuple[Any, ...]
"""A command's name and arguments."""

ANSWER_WITHIN = 2.0
"""Seconds until a batch that a server does not answer fails, and its connection is closed; who asks waits for less."""
CLOSE_WITHIN = 1.0
"""Seconds that batches under way have when the store is closed."""
MOST_IN_BATCH = 256
"""Keys and commands of one batch: with more each costs the same, and the first would wait for the last."""
_BYTES_PER_KEY = 4096  # a payload counts as one key more for so many bytes: a batch is about a megabyte at most
_MOST_LATER = 1000
_HELD = 0.5  # of the timeout: a timer that is later than this shows that the loop was held up


class Server(Protocol):
    """A server as the batches see it.

    Attributes:
      name: For messages.
      most_at_once: How many batches it is given at once.
    """

    name: str
    most_at_once: int

    async def run(self, commands: Sequence[Command], keys: Sequence[str]) -> tuple[Sequence[Any], Sequence[Any]]:
        """Execute commands, then get values, in one round trip.

        Returns:
          The commands' replies, an exception for one that was refused; and the values, None where there is none.
        Raises:
          Exception: nothing was answered, or a value could not be read.
        """


def values_of(found: dict[str, Any], keys: Sequence[str]) -> list[Any]:
    """Return the values of these keys."""
    return [found[key] for key in keys]


class Request:
    """What one caller asks, and awaits: values under keys of the server, or a command.

    The ledger finds it in the wait for its answer, and takes the two names from it.

    Args:
      wait_name: `cache GET redis localhost:6379`.
      wait_identity: The key it is about.
      keys: Of values to get.
      answer_of: Makes the answer of what was found and of these keys.
    Attributes:
      command: What to execute instead.
      weight: How many keys it counts for in a batch.
      asked_at: When it was added, by the loop's clock.
      reply: The answer, or the command's reply.
      error: Why there is none.
      ended: Whether the server has replied or failed.
      then: Sent when this one has ended.
    """

    # No slots: what most requests never set stays with the class, which makes one in 0.6 µs instead of 0.9.
    command: Command | None = None
    asked_at = 0.0
    reply: Any = None
    error: StoreError | None = None
    ended = False
    then: "Request | None" = None

    def __init__(
        self,
        wait_name: str,
        wait_identity: str,
        keys: Sequence[str] = (),
        answer_of: Callable[[dict[str, Any], Sequence[str]], Any] = values_of,
    ) -> None:
        self.wait_name = wait_name
        self.wait_identity = wait_identity
        self.keys = keys
        self.answer_of = answer_of
        self.weight = len(keys)
        # It only says that the end has come: an exception in it would be logged when nobody is there to take it.
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    def to_do(cls, wait_name: str, wait_identity: str, command: Command, payload_bytes: int = 0) -> "Request":
        """Return the request to execute a command."""
        request = cls(wait_name, wait_identity)
        request.command = command
        request.weight = 1 + payload_bytes // _BYTES_PER_KEY
        return request

    def __await__(self) -> Generator[Any, None, Any]:
        """Return the answer.

        Raises:
          StoreError: there is none; each caller gets an exception of its own.
        Cancellation: a request that was not sent yet is dropped; the reply to one that was is read and dropped.
        """
        yield from self.future
        error = self.error
        if error is not None:
            raise type(error)(error.store, error.reason) from error.__cause__
        return self.reply

    def end(self, reply: Any) -> None:
        """Wake the caller, if it waits still."""
        self.ended = True
        self.reply = reply
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: StoreError) -> None:
        """Wake the caller: there is no reply."""
        self.error = error
        self.end(None)

    def give_up(self, error: StoreError) -> None:
        """Wake the caller: the server's reply would come too late for it."""
        if not self.future.done():
            self.error = error
            self.future.set_result(None)


class Batches:
    """The requests for one server.

    Attributes:
      timeout: Seconds after which those who ask for values are told that there is no answer.
    """

    def __init__(self, server: Server, timeout: float = ANSWER_WITHIN) -> None:
        self.timeout = timeout
        self._server = server
        self._queue: deque[Request] = deque()
        self._later: deque[Request] = deque(maxlen=_MOST_LATER)
        self._senders: set[asyncio.Task[None]] = set()
        self._under_way: list[list[Request]] = []
        self._starting = False  # a sender will take what is queued in the next pass
        self._asked_at = 0.0  # of those that it will take
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, request: Request) -> None:
        """Send a request with the others of this pass.

        Raises:
          StoreError: the store is closed.
        """
        if self._closed:
            raise StoreError(self._server.name, "closed")
        self._queue.append(request)
        if not self._starting:
            self._start_sender()
        request.asked_at = self._asked_at

    def add_now_or_never(self, request: Request) -> None:
        """Send a request whose answer nobody awaits, unless the store is closed."""
        if not self._closed:
            self.add(request)

    def add_later(self, request: Request) -> None:
        """Send a request once the server answers again; of more than 1,000 the first are dropped."""
        self._later.append(request)

    def _start_sender(self) -> None:
        """Have what is queued taken in the next pass, if the server may be given one more batch."""
        loop = asyncio.get_running_loop()
        self._asked_at = loop.time()
        if self._look is None:
            self._look_in(self.timeout)
        if len(self._senders) >= self._server.most_at_once:
            return  # a sender that ends its batch takes it
        self._starting = True
        # Made here, not by the loop's factory, which may run a task at once (nothing would be together) or trace it;
        # and in an empty context, because a batch belongs to none of its callers.
        sender = asyncio.Task(self._send(), loop=loop, context=contextvars.Context())
        self._senders.add(sender)

    async def _send(self) -> None:
        self._starting = False
        try:
            while batch := self._take():
                if self._queue and not self._starting:
                    self._start_sender()
                self._under_way.append(batch)
                try:
                    await self._run(batch)
                finally:
                    self._under_way.remove(batch)
        finally:  # at once, not by a callback in the next pass: `add` counts on those that are here
            if (sender := asyncio.current_task()) is not None:
                self._senders.discard(sender)

    def _take(self) -> list[Request]:
        """Return the next requests whose callers wait still, up to MOST_IN_BATCH."""
        queue, room = self._queue, MOST_IN_BATCH
        batch: list[Request] = []
        while queue and (queue[0].weight <= room or not batch):
            request = queue.popleft()
            if not request.future.done():
                batch.append(request)
                room -= request.weight
            elif request.then is not None:
                queue.append(request.then)
        return batch

    async def _run(self, batch: list[Request]) -> None:
        """Ask the server and wake the callers, whatever happens."""
        commanding: list[Request] = []
        commands: list[Command] = []
        wanted: dict[str, Any] = {}
        for request in batch:
            if request.command is None:
                for key in request.keys:
                    wanted[key] = None
            else:
                commanding.append(request)
                commands.append(request.command)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                replies, values = await self._server.run(commands, list(wanted))
        except Exception as error:  # an unforeseen one, too: the callers must not wait for ever
            self._fail(batch, error)
            return
        except asyncio.CancelledError as error:
            self._fail(batch, error)
            raise
        found = dict(zip(wanted, values, strict=True))
        for request in batch:
            if request.command is None:
                request.end(request.answer_of(found, request.keys))
        for request, reply in zip(commanding, replies, strict=True):
            self._end(request, reply)
        if self._later:
            self._queue.extend(self._later)
            self._later.clear()

    def _end(self, request: Request, reply: Any) -> None:
        refused = isinstance(reply, Exception)
        request.fail(self._failure(reply)) if refused else request.end(reply)
        if request.then is not None:
            (self._later if refused else self._queue).append(request.then)

    def _fail(self, batch: list[Request], error: BaseException) -> None:
        failure = self._failure(error)
        for request in batch:
            request.fail(failure)
            if request.then is not None:
                self._later.append(request.then)

    def _failure(self, error: BaseException) -> StoreError:
        kind = StoreTimeout if type(error) is TimeoutError else StoreError
        failure = kind(self._server.name, _reason(error))
        failure.__cause__ = error
        return failure

    # ---- answers that are late

    def _look_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(seconds, self._give_up_late, loop.time() + seconds)

    def _give_up_late(self, due: float) -> None:
        """Tell those who have waited for too long; one timer for all costs a request nothing.

        If it was the loop that was held up, the answer may be there unread: then we look again a little later.
        """
        self._look = None
        now = asyncio.get_running_loop().time()
        waiting = [each for batch in (*self._under_way, self._queue) for each in batch if not each.future.done()]
        if now - due > _HELD * self.timeout:
            if waiting:
                self._look_in(_HELD * self.timeout)
            return
        next_at = math.inf
        late = StoreTimeout(self._server.name, f"no answer within {self.timeout:g} s")
        for request in waiting:
            if request.command is not None:
                continue  # its caller ends it
            if request.asked_at + self.timeout <= now:
                request.give_up(late)
            else:
                next_at = min(next_at, request.asked_at + self.timeout)
        if next_at < math.inf:
            self._look_in(next_at - now)

    async def aclose(self) -> None:
        """Let batches under way end within CLOSE_WITHIN; what else is asked fails."""
        self._closed = True
        if self._senders:
            _, late = await asyncio.wait(self._senders, timeout=CLOSE_WITHIN)
            for sender in late:
                sender.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._look is not None:
            self._look.cancel()
        closed = StoreError(self._server.name, "closed")
        while self._queue:
            self._queue.popleft().fail(closed)


def _reason(error: BaseException) -> str:
    if isinstance(error, StoreError):
        return error.reason
    if isinstance(error, asyncio.CancelledError):
        return "closed"
    if type(error) is TimeoutError:
        return f"no answer within {ANSWER_WITHIN:g} s"
    return str(error) or type(error).__name__

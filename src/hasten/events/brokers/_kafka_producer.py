"""Publishes records by librdkafka, and tells the loop what the brokers have confirmed.

    loop     send() ─ produce ─> librdkafka's queue ─> brokers
    thread   polls without the interpreter until a report comes, rings the loop, waits until it has been there
    loop     polls, which never waits, until no reports are left: they settle their futures

librdkafka calls a Python function for each report. In a thread each of these calls has to get the interpreter from a
loop that may be busy. So the thread takes the first report only: its callback raises, upon which librdkafka stops,
keeps the others, and has them ready for the loop's own thread (`rd_kafka_yield`). At 100 in flight that costs 31 µs a
message beside 35 with all reports in the thread, 42 beside 54 if other work takes four fifths of the loop's time.
"""

import asyncio
import logging
import math
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable

from hasten.events._errors import BrokerError, PublishTimeout
from hasten.events.brokers._kafka_client import (
    FATAL,
    MSG_TIMED_OUT,
    KafkaError,
    KafkaException,
    Producer,
    call_loop,
    made,
    reason_of,
    resolve,
)
from hasten.events.brokers._kafka_records import Headers
from hasten.events.brokers._kafka_settings import Settings

POLL_SECONDS = 0.05
"""A thread that waits in librdkafka cannot be woken: closing takes so long at most."""
CLOSE_SECONDS = 5.0
"""Closing waits so long at most for what is not confirmed."""
_SHORTEST_SWEEP = 0.01  # seconds from one look at the deadlines to the next
_logger = logging.getLogger("hasten.events")
Outgoing = tuple[str, bytes | None, bytes | None, Headers, int]
"""Topic, value, key, headers, timestamp in milliseconds."""


class Rung(Exception):
    """Raised in a callback to have librdkafka stop: the loop takes over."""


class Pending:
    """A record on its way; librdkafka calls it with the report."""

    __slots__ = ("deadline", "future", "outgoing", "producer")

    def __init__(self, producer: "KafkaProducer", future: "Future[None]", outgoing: Outgoing, deadline: float) -> None:
        self.producer = producer
        self.future = future
        self.outgoing = outgoing
        self.deadline = deadline

    def __call__(self, error: KafkaError | None, _: object) -> None:
        self.producer.report(self, error)


class KafkaProducer:
    """The records that this process publishes; of one event loop.

    Args:
      on_error: Called with what librdkafka says about its connections, in any thread.
    Raises:
      ConfigurationError: librdkafka does not take an option.
    """

    def __init__(self, settings: Settings, loop: AbstractEventLoop, on_error: Callable[[KafkaError], None]) -> None:
        self._settings = settings
        self._name = settings.name
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._on_error = on_error
        self._pending: dict[Pending, None] = {}  # in the order of their sending
        self._no_room: deque[Pending] = deque()
        self._sweep_at = math.inf
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._line = self._new_line()

    def _new_line(self) -> "Line":
        configuration = self._settings.producer(self._heard)
        return Line(made(Producer, configuration, self._settings), self._loop, self._served)

    @property
    def unconfirmed(self) -> int:
        """Records that are not confirmed."""
        return len(self._pending)

    def send(self, outgoing: Outgoing, deadline: float) -> "Future[None]":
        """Send a record; the answer is there when all replicas in sync have it.

        It waits in memory while there is no room in librdkafka's queue, or no connection.

        Raises:
          PublishTimeout: it was not confirmed at `deadline`, by `time.monotonic()`.
          BrokerError: it was refused.
        """
        future: Future[None] = self._loop.create_future()
        if self._closed:
            future.set_exception(BrokerError(self._name, "closed"))
            return future
        pending = Pending(self, future, outgoing, deadline)
        self._pending[pending] = None
        if deadline < self._sweep_at:
            self._sweep_by(deadline)
        if self._no_room:
            self._no_room.append(pending)
        else:
            self._produce(pending)
        return future

    def _produce(self, pending: Pending) -> None:
        topic, value, key, headers, moment = pending.outgoing
        try:
            self._line.producer.produce(topic, value, key, on_delivery=pending, timestamp=moment, headers=headers)
        except BufferError:
            self._no_room.append(pending)
        except KafkaException as error:
            self._fail(pending, reason_of(error))

    # ---- what came of it

    def report(self, pending: Pending, error: KafkaError | None) -> None:
        """Take a delivery report; called by librdkafka.

        Raises:
          Rung: this is not the loop's thread.
        """
        if threading.get_ident() != self._loop_thread:
            line = self._line
            if line.closing or not line.is_ours():
                return
            line.first = (pending, error)
            raise Rung
        self._settle(pending, error)

    def _settle(self, pending: Pending, error: KafkaError | None) -> None:
        if pending not in self._pending:  # of a producer that was replaced, or timed out
            return
        if error is None:
            del self._pending[pending]
            if not pending.future.done():
                pending.future.set_result(None)
        elif error.code() == MSG_TIMED_OUT and pending.deadline > time.monotonic() and not pending.future.done():
            self._produce(pending)  # librdkafka gave up before its time
        else:
            self._fail(pending, error.str())

    def _fail(self, pending: Pending, reason: str) -> None:
        self._pending.pop(pending, None)
        if not pending.future.done():
            pending.future.set_exception(BrokerError(self._name, self._settings.without_secrets(reason)))

    def _served(self, line: "Line") -> bool:
        """Take all reports that have come; return whether more may come soon. Called in the loop."""
        first, line.first = line.first, None
        if first is not None:
            self._settle(*first)
        count = 0 if line.closing else line.producer.poll(0)
        self._use_room()
        return bool((count or first) and self._pending)

    def _use_room(self) -> None:
        waiting = self._no_room
        for _ in range(len(waiting)):
            pending = waiting.popleft()
            if pending.future.done():
                self._pending.pop(pending, None)
                continue
            self._produce(pending)
            if waiting and waiting[-1] is pending:  # no room again: it is still the first
                waiting.rotate(1)
                return

    # ---- time

    def _sweep_by(self, deadline: float) -> None:
        """Look for those whose deadline is over at that time, or soon after it: one timer for all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at = deadline
        seconds = max(_SHORTEST_SWEEP, deadline - time.monotonic())
        self._sweeper = self._loop.call_later(seconds, self._sweep) if seconds < math.inf else None

    def _sweep(self) -> None:
        now = time.monotonic()
        late = [pending for pending in self._pending if pending.deadline <= now]
        for pending in late:
            del self._pending[pending]
            if not pending.future.done():
                late_reason = f"{pending.outgoing[0]}: not confirmed in time"
                pending.future.set_exception(PublishTimeout(self._name, late_reason))
        while self._no_room and self._no_room[0].future.done():
            self._no_room.popleft()
        self._sweep_at, self._sweeper = math.inf, None
        if self._pending:
            self._sweep_by(min(pending.deadline for pending in self._pending))

    # ---- trouble

    def _heard(self, error: KafkaError) -> None:
        """Take what librdkafka says, in the thread that polls."""
        if error.code() == FATAL and not self._closed:
            call_loop(self._loop, self._replace, error.str())
        self._on_error(error)

    def _replace(self, reason: str) -> None:
        """Go on with a new producer: this one takes nothing any more. What is not confirmed is sent again."""
        if self._closed:
            return
        _logger.warning("%s: the producer is replaced: %s", self._name, reason)
        self._line.close()
        self._line = self._new_line()
        again = [Pending(self, each.future, each.outgoing, each.deadline) for each in self._pending]
        self._pending = dict.fromkeys(again)
        self._no_room.clear()
        for pending in again:
            self._produce(pending)

    async def aclose(self) -> None:
        """Wait until what was sent is confirmed, for CLOSE_SECONDS at most, and end the thread."""
        futures = [pending.future for pending in self._pending if not pending.future.done()]
        if futures:
            await asyncio.wait(futures, timeout=CLOSE_SECONDS)
        self._closed = True
        for pending in list(self._pending):
            self._fail(pending, "closed before it was confirmed")
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._line.close()


class Line:
    """One librdkafka producer with the thread that waits for its reports.

    Attributes:
      first: The report with which it rang.
      closing: Nothing is reported any more.
    """

    def __init__(self, producer: Producer, loop: AbstractEventLoop, served: Callable[["Line"], bool]) -> None:
        self.producer = producer
        self.first: tuple[Pending, KafkaError | None] | None = None
        self.closing = False
        self._loop = loop
        self._served = served
        self._turn = threading.Semaphore(0)
        self._ended: Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._wait, name="hasten-kafka-producer", daemon=True)
        self._thread.start()

    def is_ours(self) -> bool:
        """Whether this is the line's thread."""
        return threading.current_thread() is self._thread

    def close(self) -> "Future[None]":
        """Have the thread end; what is not confirmed is dropped. The answer is there when it has."""
        self.closing = True
        self._turn.release()
        return self._ended

    def _wait(self) -> None:
        try:
            while not self.closing:
                try:
                    self.producer.poll(POLL_SECONDS)
                except Rung:
                    if not call_loop(self._loop, self._answer) or not self._wait_for_turn():
                        return
        finally:
            self._end()

    def _wait_for_turn(self) -> bool:
        """Leave the reports to the loop; return whether it is there still."""
        while not self._turn.acquire(timeout=1.0):
            if self._loop.is_closed():
                return False
        return True

    def _answer(self) -> None:
        """Take reports, pass after pass; with none left it is the thread's turn to wait for them."""
        more = False
        try:
            more = self._served(self)
        finally:
            if more:
                self._loop.call_soon(self._answer)
            else:
                self._turn.release()

    def _end(self) -> None:
        self.closing = True
        if len(self.producer):
            self.producer.purge()
        self.producer.close()
        call_loop(self._loop, resolve, self._ended)

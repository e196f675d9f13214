"""Request and reply over a bus, for those who cannot call the other service: a queue between the two, and an answer.

    @answers(bus, "prices.quote", group="prices")
    async def quote(item: Item) -> Price: ...

    async with Requests(bus) as requests:
        price = await requests.ask("prices.quote", Item("tea"), returns=Price)

A request is a message like any other, with a header that says where the answer goes: a topic of the asking process,
which hears it as long as it listens (`Broadcasting`). Nothing stays at the broker when the process is gone. An answer
comes at most once; a request may be handled twice, as any message. Where a service can be called, `hasten.rpc` is
several times as fast, and tells at once that nobody is there.
"""

import asyncio
import inspect
import logging
import time
import typing
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from hasten._core.errors import ConfigurationError, HastenError
from hasten.events._broker import Broadcasting, Listening
from hasten.events._bus import Bus
from hasten.events._consumer import monotonic_of
from hasten.events._envelope import Envelope, Ids
from hasten.events._errors import BrokerError, Malformed
from hasten.events._handler import Call, Message
from hasten.events._names import checked_name
from hasten.events._payload import Decoder, Encoder
from hasten.events._policy import RetryPolicy
from hasten.resilience import remaining

ANSWER_SECONDS = 5.0
"""In which the broker must have an answer."""
_REPLIES = "replies."  # all answers go to such topics: no request has one sent elsewhere
_TO = "reply-to"
_OF = "answer-to"
_FAILED = "failed"
T = TypeVar("T")
_logger = logging.getLogger("hasten.events")


class RequestFailed(HastenError):
    """Raised when the function that answers has raised, or its answer is not what was asked for; see the reason.

    Args:
      topic: What was asked.
      reason: Type and message of what was raised.
    """

    exit_code = 3

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"{topic}: {reason}")
        self.topic = topic
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.topic, self.reason)


class RequestTimeout(HastenError, TimeoutError):
    """Raised when there was no answer in time: nobody consumes, or is too slow; it may be handled all the same.

    Args:
      topic: What was asked.
      seconds: How long it was waited for.
    """

    exit_code = 3

    def __init__(self, topic: str, seconds: float) -> None:
        super().__init__(f"{topic}: no answer in {seconds:.3g} s")
        self.topic = topic
        self.seconds = seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.topic, self.seconds)


class Requests:
    """Asks others over a bus that runs, while `async with` holds.

    Args:
      timeout: Seconds for an answer; the ambient deadline may leave less.
      replies: Topic that answers come by, `replies.` and a name. Without it each process has one of its own; where the
        broker keeps topics, as Kafka does, all share `replies.all`, and each hears all answers.
    Raises:
      ConfigurationError: the bus's broker cannot tell those who listen, or an argument is wrong.
    """

    def __init__(self, bus: Bus, *, timeout: float = 5.0, replies: str = "") -> None:
        broker = bus.broker
        if not isinstance(broker, Broadcasting):
            raise ConfigurationError("Requests", f"{broker.name} keeps messages, and cannot tell all who listen")
        if not timeout > 0.0:
            raise ConfigurationError(f"Requests(timeout={timeout})", "must be greater than 0")
        self._new_id = Ids()
        replies = replies or _REPLIES + ("all" if broker.keeps_topics else self._new_id())
        self._topic = checked_name(replies, f"Requests(replies={replies!r})")
        if not self._topic.startswith(_REPLIES):
            raise ConfigurationError(f"Requests(replies={replies!r})", f"must begin with {_REPLIES}")
        self._bus = bus
        self._broker: Broadcasting = broker
        self._timeout = timeout
        self._listening: Listening | None = None
        self._open: dict[str, asyncio.Future[Envelope]] = {}

    async def ask(
        self, topic: str, payload: Any, *, returns: type[T], key: str = "", headers: Mapping[str, str] | None = None
    ) -> T:
        """Publish a request, and return its answer.

        Nobody handles it when its time is over. While the connection is away an answer may be missed: that is a
        timeout, too.

        Args:
          returns: What the answer is decoded as: a msgspec.Struct, a dataclass, a pydantic model or what JSON has.
          key, headers: As of `Bus.publish`.
        Raises:
          RequestFailed: the function that answers has raised, or the answer is no such thing.
          RequestTimeout: there was no answer in time; the request may have been handled, or be handled now.
          Unroutable: nobody has ever answered this topic.
          BrokerError: the request could not be published.
        Cancellation: the request may be handled all the same.
        """
        if self._listening is None:
            raise ConfigurationError("Requests", "does not listen", "use it by `async with Requests(bus) as requests:`")
        decode = Decoder(returns)
        request_id = self._new_id()
        answer = self._open[request_id] = asyncio.get_running_loop().create_future()
        seconds = min(self._timeout, remaining())
        try:
            async with asyncio.timeout(seconds):
                await self._bus.publish(
                    topic,
                    payload,
                    key=key,
                    message_id=request_id,
                    headers={**(headers or {}), _TO: self._topic},
                    expires=seconds,
                )
                envelope = await answer
        except TimeoutError as error:
            if isinstance(error, BrokerError):  # not confirmed: it says more
                raise
            raise RequestTimeout(topic, seconds) from error
        finally:
            del self._open[request_id]
        found: T = _answer_in(envelope, decode, topic)
        return found

    def _take(self, envelope: Envelope) -> None:
        answer = self._open.get(envelope.headers.get(_OF, ""))
        if answer is not None and not answer.done():  # or it is another's, comes too late, or again
            answer.set_result(envelope)

    async def __aenter__(self) -> Self:
        """Listen for answers.

        Raises:
          BrokerError: the broker refuses, or the bus does not run.
        """
        self._listening = await self._broker.listen(self._topic, self._take, lambda: None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.aclose()


def _answer_in(envelope: Envelope, decode: Decoder, topic: str) -> Any:
    if _FAILED in envelope.headers:
        raise RequestFailed(topic, envelope.body.decode(errors="replace"))
    try:
        return decode(envelope.body, envelope.content_type)
    except Malformed as error:
        raise RequestFailed(topic, f"the answer is malformed: {error}") from error


def answers(
    bus: Bus, topic: str, *, group: str, concurrency: int = 16
) -> Callable[[Callable[..., Awaitable[T]]], Callable[..., Awaitable[T]]]:
    """Have what an `async def` function returns be the answer to who asks: `async def quote(item: Item) -> Price`.

    It is subscribed as by `Bus.subscribe`. When it raises that is the answer, too, with its type and message: a request
    is not retried, for who asks knows whether that is of use. Requests whose time is over are dead letters, unhandled.

    Raises:
      ConfigurationError: as of `Bus.subscribe`.
    """

    def decorate(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        checked: Any = function
        Call(checked, group, batched=False)  # says what is wrong with it
        subscribe = bus.subscribe(topic, group=group, concurrency=concurrency, retry=RetryPolicy(0))
        subscribe(_answering(bus, function))
        return function

    return decorate


def _answering(bus: Bus, function: Callable[..., Awaitable[Any]]) -> Callable[[Any, Message], Awaitable[None]]:
    """Return a subscriber that takes what `function` takes, and publishes what it returns."""
    hints = typing.get_type_hints(function)
    (payload_name, *_) = inspect.signature(function).parameters
    wants = next((name for name, hint in hints.items() if hint is Message and name != "return"), "")
    reply = _Reply(bus)

    async def answer(payload: Any, message: Message) -> None:
        try:
            result = await function(payload, **({wants: message} if wants else {}))
        except Exception as error:
            _logger.warning("%s: %s: %s: %s", function.__qualname__, message.id, type(error).__name__, error)
            await reply(message, f"{type(error).__name__}: {error}".encode(), failed=True)
        else:
            await reply(message, result)

    for name in ("__module__", "__name__", "__qualname__"):  # not by wraps: its parameters are others
        setattr(answer, name, getattr(function, name))
    answer.__annotations__ = {"payload": hints.get(payload_name, Any), "message": Message, "return": None}
    return answer


class _Reply:
    """Publishes answers to where they are wanted."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._encode = Encoder("json")
        self._new_id = Ids()

    async def __call__(self, message: Message, result: Any, *, failed: bool = False) -> None:
        """Answer a message; if that cannot be done whoever asks finds out by his timeout."""
        topic = message.headers.get(_TO, "")
        if not topic.startswith(_REPLIES):
            return  # nobody asks: it was published like any other
        headers = {_OF: message.id} | ({_FAILED: "1"} if failed else {})
        deadline = min(time.monotonic() + ANSWER_SECONDS, monotonic_of(message.deadline))
        try:
            body, content_type = self._encode(result)
            envelope = Envelope(
                topic=checked_name(topic, _TO),
                body=body,
                content_type=content_type,
                id=self._new_id(),
                time=time.time(),
                deadline=message.deadline,
                traceparent=message.traceparent,
                headers=headers,
            )
            await self._bus.broker.publish(envelope, deadline=deadline, mandatory=False)
        except HastenError as error:
            _logger.warning("%s: %s: not answered: %s", message.topic, message.id, error)

"""The bus that users hold: `bus = Bus("amqp://localhost")`, `@bus.subscribe(...)`, `await bus.publish(...)`."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from hasten._core.ambient import AMBIENT
from hasten._core.errors import ConfigurationError
from hasten._core.signals import EventHook, EventPublished
from hasten.events._batching import BatchConsumer
from hasten.events._broker import Broker, Subscription
from hasten.events._brokers import broker_at
from hasten.events._consumer import Consumer, Handling
from hasten.events._envelope import NO_DEADLINE, Envelope, Ids
from hasten.events._handler import Call, Handler
from hasten.events._names import checked_headers, checked_id, checked_name
from hasten.events._once import Once
from hasten.events._payload import Encoder, Format
from hasten.events._policy import Batch, RetryPolicy

MOST_UNDER_WAY = 65_535
"""Messages of one subscription that a process may have at once: AMQP's prefetch has 16 bits."""
H = TypeVar("H", bound=Handler)
_logger = logging.getLogger("hasten.events")


class Bus:
    """Publishes messages, and runs the consumers of this process.

    It is made without a loop; `async with bus:` connects, has messages delivered, and drains at the end.

    Args:
      broker: `amqp://user:password@host:5672/vhost`, `amqps://`, `kafka://host:9092,host:9092`, `memory://`, or a
        `Broker`.
      origin: Who publishes, for those who look into a message: the service's name.
      form: How payloads are made into bytes.
      timeout: Seconds in which the broker must confirm a message; the ambient deadline may leave less.
      drain: Seconds that messages under way have to finish when the bus is left.
      hooks: Called with an `EventPublished` or an `EventHandled`, in the loop's thread; they must return within
        microseconds. One that raises harms nobody.
    Raises:
      ConfigurationError: an argument is wrong; the message shows no password.
      MissingDependency: the broker's driver is not installed.
    """

    def __init__(
        self,
        broker: str | Broker,
        *,
        origin: str = "",
        form: Format = "json",
        timeout: float = 5.0,
        drain: float = 15.0,
        hooks: Sequence[EventHook] = (),
    ) -> None:
        if not (timeout > 0.0 and drain >= 0.0):
            raise ConfigurationError("Bus", "timeout must be greater than 0, drain at least 0")
        self.broker = broker_at(broker) if isinstance(broker, str) else broker
        self._origin = origin
        self._timeout = timeout
        self._drain = drain
        self._hooks = tuple(hooks)
        self._encode = Encoder(form)
        self._new_id = Ids()
        self._consumers: dict[tuple[str, str], Consumer] = {}
        self._started = False

    # ---- consumers

    def subscribe(
        self,
        topic: str,
        *,
        group: str,
        concurrency: int = 16,
        ordered: bool = False,
        retry: RetryPolicy | None = None,
        once: Once | None = None,
        batch: Batch | None = None,
    ) -> Callable[[H], H]:
        """Have an `async def` function handle a group's messages: `async def bill(order: OrderPaid, message: Message)`.

        Its first parameter is the payload, decoded by the annotation; one that is annotated `Message` gets the rest.
        When it returns the message is handled; when it raises it is handled again later, by `retry`.

        Args:
          topic: What it is about: `orders.paid`.
          group: Each message goes to one consumer of each group, whatever process it is in.
          concurrency: Messages that are handled at once.
          ordered: Messages of one key are handled one after the other, in the order of their publishing; those that
            fail are retried in their place.
          retry: How often and when; `RetryPolicy()` if not given.
          once: Remembers what was handled, so that a message that is delivered twice has its effect once.
          batch: Have messages handled together: `async def bill(orders: list[OrderPaid], messages: list[Message])`.
            Then `concurrency` counts calls, and `batch.most` times so many messages may be under way. When a call
            raises, each of its messages is handled alone, at once; `retry` counts from there.
        Raises:
          ConfigurationError: an argument is wrong, the function is none that can be called so, or the group has a
            function for the topic.
        """
        where = f"subscribe({topic!r}, group={group!r})"
        for name in (topic, group):
            checked_name(name, where)
        if concurrency < 1:
            raise ConfigurationError(where, f"concurrency={concurrency}", "it must be at least 1")
        prefetch = concurrency if batch is None else concurrency * batch.most
        if prefetch > MOST_UNDER_WAY:
            raise ConfigurationError(where, f"{prefetch} messages at once", f"{MOST_UNDER_WAY} at most")
        subscription = Subscription(topic=topic, group=group, prefetch=prefetch, ordered=ordered)

        def decorate(function: H) -> H:
            if (topic, group) in self._consumers:
                raise ConfigurationError(where, "the group has a function for this topic", "give it another group=")
            call = Call(function, group, batched=batch is not None)
            handling = Handling(call, retry or RetryPolicy(), once, self._hooks)
            if batch is None:
                self._consumers[topic, group] = Consumer(subscription, handling)
            else:
                self._consumers[topic, group] = BatchConsumer(subscription, handling, batch, concurrency)
            return function

        return decorate

    # ---- publishing

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        key: str = "",
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        expires: float = math.inf,
        mandatory: bool = True,
    ) -> None:
        """Publish a message, and return when the broker has it for good; the ambient deadline bounds the wait.

        Args:
          payload: A msgspec.Struct, a dataclass, a pydantic model, what JSON has, or bytes.
          key: Messages of one key keep their order, for groups that are `ordered`.
          message_id: The same for the same event, if it may be published again; random if not given.
          headers: Beside the message's own; lower case names.
          delay: Seconds until it is delivered.
          expires: Seconds after which it is worth nothing: it goes to the dead letters unhandled.
          mandatory: Raise Unroutable if no group has ever subscribed to the topic.
        Raises:
          ConfigurationError: an argument is wrong, or the payload cannot be encoded.
          Unroutable: nobody would ever get it.
          PublishTimeout: not confirmed in time; it may have been taken all the same.
          BrokerError: the broker refused it.
        Cancellation: the message may be published all the same.
        """
        now = time.monotonic()
        envelope = self._envelope(topic, payload, key, message_id, headers, expires)
        deadline = now + self._timeout
        ambient = AMBIENT.get()
        if ambient is not None:
            envelope.traceparent = ambient.traceparent
            deadline = min(deadline, ambient.deadline)
        ok = False
        try:
            await self.broker.publish(envelope, deadline=deadline, delay=delay, mandatory=mandatory)
            ok = True
        finally:
            if self._hooks:
                self._tell(EventPublished(topic, ok, time.monotonic() - now, len(envelope.body)))

    async def forward(self, envelope: Envelope, *, deadline: float = math.inf) -> None:
        """Publish a message as it is, with the id, the time and the deadline that it has; see `publish`.

        Args:
          deadline: By `time.monotonic()`: until then it must be confirmed, and within the bus's `timeout`.
        Raises:
          Unroutable: no group has ever subscribed to its topic.
          PublishTimeout: not confirmed in time.
          BrokerError: the broker refused it.
        Cancellation: the message may be published all the same.
        """
        now, ok = time.monotonic(), False
        try:
            await self.broker.publish(envelope, deadline=min(deadline, now + self._timeout))
            ok = True
        finally:
            if self._hooks:
                self._tell(EventPublished(envelope.topic, ok, time.monotonic() - now, len(envelope.body)))

    def _envelope(
        self, topic: str, payload: Any, key: str, message_id: str, headers: Mapping[str, str] | None, expires: float
    ) -> Envelope:
        checked_name(topic, "publish")
        body, content_type = self._encode(payload)
        now = time.time()
        return Envelope(
            topic=topic,
            body=body,
            content_type=content_type,
            id=checked_id(message_id) if message_id else self._new_id(),
            key=key,
            origin=self._origin,
            time=now,
            deadline=now + expires if expires < math.inf else NO_DEADLINE,
            headers=checked_headers(headers) if headers else {},
        )

    def _tell(self, signal: EventPublished) -> None:
        for hook in self._hooks:
            hook(signal)

    # ---- the bus in a process

    async def start(self) -> None:
        """Connect, and have messages delivered to the subscribed functions.

        Raises:
          BrokerUnavailable: the broker does not answer.
          BrokerError: it refuses a subscription.
        """
        if self._started:
            raise ConfigurationError("Bus", "has been started already", "use it by `async with bus:` once")
        self._started = True
        await self.broker.start()
        await asyncio.gather(*(consumer.start(self.broker) for consumer in self._consumers.values()))

    async def aclose(self) -> None:
        """Ask for no more messages, finish those under way within `drain` seconds, settle them, and disconnect.

        What is not finished by then is cancelled and delivered to others.
        """
        deadline = time.monotonic() + self._drain
        await asyncio.gather(*(consumer.drain(deadline) for consumer in self._consumers.values()))
        for once in {consumer.once for consumer in self._consumers.values() if consumer.once is not None}:
            await once.aclose()
        await self.broker.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.broker.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

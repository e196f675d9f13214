"""The bus that users hold: `bus = Bus("amqp://localhost")`, `@bus.subscribe(...)`, `await bus.publish(...)`."""

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from hasten._core.ambient import AMBIENT
from hasten._core.errors import ConfigurationError
from hasten._core.signals import EventHook, EventPublished
from hasten._core.tracing import Tracer
from hasten.events._asyncapi import Receiving, document
from hasten.events._batching import BatchConsumer
from hasten.events._broker import Broker, Inspection, Subscription
from hasten.events._brokers import broker_at
from hasten.events._consumer import STUCK_AFTER, Consumer, Handling
from hasten.events._envelope import NO_DEADLINE, Envelope, Ids
from hasten.events._handler import Call, Handler
from hasten.events._lag import LagWatch
from hasten.events._names import checked_headers, checked_id, checked_name
from hasten.events._once import Once
from hasten.events._payload import JSON, MSGPACK, Encoder, Format
from hasten.events._policy import Batch, RetryPolicy
from hasten.events._readiness import Check, Watch
from hasten.events._telling import tell

if TYPE_CHECKING:
    from hasten.ledger import WorkRecorder

MOST_UNDER_WAY = 65_535
"""Messages of one subscription that a process may have at once: AMQP's prefetch has 16 bits."""
H = TypeVar("H", bound=Handler)
_logger = logging.getLogger("hasten.events")


class Bus:
    """Publishes messages, and runs the consumers of this process.

    It is made without a loop; `async with bus:` connects, has messages delivered, and drains at the end.

    Args:
      broker: `amqp://user:password@host:5672/vhost`, `amqps://`, `kafka://host:9092,host:9092`, `memory://`,
        `memory:///events.db`, or a `Broker`.
      origin: Who publishes, for those who look into a message: the service's name.
      form: How payloads are made into bytes.
      timeout: Seconds in which the broker must confirm a message; the ambient deadline may leave less.
      drain: Seconds that messages under way have to finish when the bus is left.
      hooks: Called with each `EventSignal`, in the loop's thread; they must return within microseconds. One that
        raises harms nobody.
      lag_every: Seconds between two questions to the broker how far each group of this bus is behind, if there are
        hooks to be told; infinite asks never.
      stuck_after: Seconds that the broker may be away, and in which a consumer that is at work must come to an end
        with a message, for the bus to be `ready`; infinite for ever.
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
        lag_every: float = 30.0,
        stuck_after: float = STUCK_AFTER,
    ) -> None:
        if not (timeout > 0.0 and drain >= 0.0):
            raise ConfigurationError("Bus", "timeout must be greater than 0, drain at least 0")
        if not (lag_every > 0.0 and stuck_after > 0.0):
            raise ConfigurationError("Bus", "lag_every and stuck_after must be greater than 0")
        self.broker = broker_at(broker) if isinstance(broker, str) else broker
        self._origin = origin
        self._timeout = timeout
        self._drain = drain
        self._hooks = list(hooks)
        self._tracer: Tracer | None = None
        self._recorder: WorkRecorder | None = None
        self._encode = Encoder(form)
        self._content_type = JSON if form == "json" else MSGPACK
        self._new_id = Ids()
        self._makers: dict[tuple[str, str], Callable[[], Consumer]] = {}
        self._consumers: dict[tuple[str, str], Consumer] = {}
        self._receiving: list[Receiving] = []
        self._started = False
        self._stuck_after = stuck_after
        self._watch = Watch(self.broker, stuck_after)
        self._lag_every = lag_every
        self._lag: LagWatch | None = None

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
        stuck_after: float | None = None,
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
          stuck_after: The bus's if not given; more, or `math.inf`, for a function that may take so long: none of the
            messages that it is at needs to come to an end in that time.
        Raises:
          ConfigurationError: an argument is wrong, the function is none that can be called so, or the group has a
            function for the topic.
        """
        where = f"subscribe({topic!r}, group={group!r})"
        for name in (topic, group):
            checked_name(name, where)
        if concurrency < 1:
            raise ConfigurationError(where, f"concurrency={concurrency}", "it must be at least 1")
        if stuck_after is not None and not stuck_after > 0.0:
            raise ConfigurationError(where, f"stuck_after={stuck_after}", "it must be greater than 0")
        prefetch = concurrency if batch is None else concurrency * batch.most
        if prefetch > MOST_UNDER_WAY:
            raise ConfigurationError(where, f"{prefetch} messages at once", f"{MOST_UNDER_WAY} at most")
        subscription = Subscription(topic=topic, group=group, prefetch=prefetch, ordered=ordered)

        def decorate(function: H) -> H:
            if (topic, group) in self._makers:
                raise ConfigurationError(where, "the group has a function for this topic", "give it another group=")
            call, policy = Call(function, group, batched=batch is not None), retry or RetryPolicy()
            handling = Handling(call, policy, once, self._hooks, stuck_after or self._stuck_after)
            self._receiving.append(Receiving(subscription, function, concurrency, policy, once is not None, batch))
            make: Callable[[], Consumer] = partial(Consumer, subscription, handling)
            if batch is not None:
                make = partial(BatchConsumer, subscription, handling, batch, concurrency)
            self._makers[topic, group] = partial(contextvars.copy_context().run, make)
            return function

        return decorate

    def asyncapi(self, *, title: str, version: str) -> dict[str, Any]:
        """Return what is subscribed as an AsyncAPI 3.0 document, made of what JSON has; the bus need not run.

        Channels are topics, operations are a group's subscriptions, with what only hasten has as `x-hasten-...`;
        payloads have the schemas of their annotations. There is no password in it.

        Args:
          title, version: Of the application.
        Raises:
          ConfigurationError: a payload's annotation has no JSON schema.
        """
        content_type = self._content_type
        return document(
            self._receiving, title=title, version=version, broker=self.broker.name, content_type=content_type
        )

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
        parent, ok = self._begin_span(envelope), False
        try:
            await self.broker.publish(envelope, deadline=deadline, delay=delay, mandatory=mandatory)
            ok = True
        finally:
            if self._hooks:
                self._tell_published(envelope, parent, now, ok=ok)

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
        parent = self._begin_span(envelope)
        try:
            await self.broker.publish(envelope, deadline=min(deadline, now + self._timeout))
            ok = True
        finally:
            if self._hooks:
                self._tell_published(envelope, parent, now, ok=ok)

    def _begin_span(self, envelope: Envelope) -> str:
        """Have a message carry the span of its publishing, if somebody traces; return the id of the one around."""
        if self._tracer is None:
            return ""
        envelope.traceparent, parent = self._tracer.begin(envelope.traceparent)
        return parent

    def _tell_published(self, envelope: Envelope, parent: str, began: float, *, ok: bool) -> None:
        span = "" if self._tracer is None else envelope.traceparent
        seconds = time.monotonic() - began
        tell(self._hooks, EventPublished(envelope.topic, ok, seconds, len(envelope.body), span, parent))

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

    # ---- readiness

    @property
    def ready(self) -> bool:
        """Whether all `checks` hold: it runs, its broker is there, and no consumer is stuck; in any thread."""
        return all(check.ok for check in self.checks())

    def checks(self) -> tuple[Check, ...]:
        """Return what must hold for this process to be ready, and why it does not; in any thread.

        `bus`, `broker`, and `consumer TOPIC GROUP` for each subscription: it is stuck when it is at work, and for
        `stuck_after` seconds no handler has returned or raised and nothing was settled. Messages that wait for their
        retry in place, for one of their key or for their batch do not count.
        """
        return self._watch.checks(time.monotonic())

    # ---- the bus in a process

    def add_hook(self, hook: EventHook) -> None:
        """Have one more hook called from now on; before the bus starts, if it is to hear of the backlog."""
        self._hooks.append(hook)

    def trace(self, tracer: Tracer) -> None:
        """Have each publishing, and from the next start on each handling of a message, be a span."""
        self._tracer = tracer

    def record(self, recorder: "WorkRecorder") -> None:
        """Have some of what is handled from the next start on be in a ledger."""
        self._recorder = recorder

    async def start(self) -> None:
        """Connect, and have messages delivered to the subscribed functions.

        Raises:
          BrokerUnavailable: the broker does not answer.
          BrokerError: it refuses a subscription.
        """
        if self._started:
            raise ConfigurationError("Bus", "has been started already", "use it by `async with bus:` once")
        self._started = True
        self._consumers = {key: make() for key, make in self._makers.items()}
        for consumer in self._consumers.values():
            consumer.tracer, consumer.recorder = self._tracer, self._recorder
        await self.broker.start()
        await asyncio.gather(*(consumer.start(self.broker) for consumer in self._consumers.values()))
        self._watch.start(self._consumers.values())
        self._start_lag()

    def _start_lag(self) -> None:
        if self._hooks and self._consumers and self._lag_every < math.inf and isinstance(self.broker, Inspection):
            subscriptions = [consumer.subscription for consumer in self._consumers.values()]
            self._lag = LagWatch(self.broker, subscriptions, self._lag_every, self._hooks)
            self._lag.start()

    async def aclose(self) -> None:
        """Ask for no more messages, finish those under way within `drain` seconds, settle them, and disconnect.

        What is not finished by then is cancelled and delivered to others. It can be started again then.

        Cancellation: that happens now, and it has disconnected when the cancellation comes out.
        """
        deadline = time.monotonic() + self._drain
        self._watch.stop()
        consumers = self._consumers.values()
        try:
            if self._lag is not None:
                await self._lag.aclose()
            await asyncio.gather(*(consumer.drain(deadline) for consumer in consumers))
        finally:
            await self._cut(consumers)

    async def _cut(self, consumers: Iterable[Consumer]) -> None:
        try:
            await asyncio.gather(*(consumer.cut() for consumer in consumers))
        finally:
            for once in {consumer.once for consumer in consumers if consumer.once is not None}:
                await once.aclose()
            await self.broker.aclose()
            self._started = False

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

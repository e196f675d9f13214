"""A subscriber's function as the consumer calls it: payloads decoded by its annotation, the message if it wants it."""

import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from inspect import Parameter
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.events._envelope import Envelope
from hasten.events._payload import Decoder

Handler = Callable[..., Awaitable[None]]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler may know of the message beside its payload.

    Attributes:
      topic, group: Where it was published, and for whom it is handled.
      id, key, origin, traceparent, headers: As in the envelope.
      time, deadline: By `time.time()`; the deadline is infinite if it has none.
      attempt: 1 for the first time, one more for each retry.
      body, content_type: The payload as it came.
    """

    topic: str
    group: str
    id: str
    key: str
    origin: str
    time: float
    deadline: float
    traceparent: str
    attempt: int
    headers: dict[str, str]
    body: bytes
    content_type: str


class Call:
    """Calls a handler with what came.

    Args:
      function: `async def bill(order: OrderPaid, message: Message)`: one parameter for the payload, and at most one
        annotated with `Message`; with `batched` lists of both.
    Raises:
      ConfigurationError: it is no such function.
    """

    def __init__(self, function: Handler, group: str, *, batched: bool) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.function = function
        self._group = group
        self._batched = batched
        payload, self._message = _parameters(function, self.name)
        annotation = _item_of(payload, self.name) if batched else payload
        self.decode = Decoder(annotation)

    def one(self, payload: Any, envelope: Envelope, attempt: int) -> Awaitable[None]:
        """Return what handles one message when it is awaited."""
        if self._batched:
            return self.many([payload], [msgspec.structs.replace(envelope, attempt=attempt)])
        if self._message:
            return self.function(payload, **{self._message: message_of(envelope, self._group, attempt)})
        return self.function(payload)

    def many(self, payloads: list[Any], envelopes: Sequence[Envelope]) -> Awaitable[None]:
        """Return what handles a batch when it is awaited."""
        if self._message:
            messages = [message_of(envelope, self._group, envelope.attempt) for envelope in envelopes]
            return self.function(payloads, **{self._message: messages})
        return self.function(payloads)


def message_of(envelope: Envelope, group: str, attempt: int) -> Message:
    """Return what a handler may know of an envelope."""
    return Message(
        topic=envelope.topic,
        group=group,
        id=envelope.id,
        key=envelope.key,
        origin=envelope.origin,
        time=envelope.time,
        deadline=envelope.deadline,
        traceparent=envelope.traceparent,
        attempt=attempt,
        headers=envelope.headers,
        body=envelope.body,
        content_type=envelope.content_type,
    )


def _parameters(function: Handler, name: str) -> tuple[Any, str]:
    """Return the annotation of the payload, and the name of the parameter for the message; empty without one."""
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError(name, "is no async def function", "make it one; what blocks goes to asyncio.to_thread")
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise ConfigurationError(name, f"its annotations cannot be read: {error}", "define the name first") from error
    parameters = list(inspect.signature(function).parameters.values())
    wants = [each for each in parameters[1:] if _is_message(hints.get(each.name))]
    needed = [each for each in parameters[1:] if each.default is Parameter.empty and each not in wants]
    if not parameters or needed or len(wants) > 1:
        problem = "takes other arguments than a payload and a Message"
        raise ConfigurationError(name, problem, "async def f(order: OrderPaid, message: Message)")
    if wants and wants[0].kind is Parameter.POSITIONAL_ONLY:
        raise ConfigurationError(name, f"{wants[0].name} is positional only", "remove the /")
    return hints.get(parameters[0].name, Parameter.empty), wants[0].name if wants else ""


def _is_message(hint: Any) -> bool:
    return hint is Message or typing.get_args(hint) == (Message,)


def _item_of(annotation: Any, name: str) -> Any:
    """Return what a list of payloads consists of."""
    if annotation is Parameter.empty:
        return annotation
    if typing.get_origin(annotation) is not list:
        raise ConfigurationError(name, f"takes {annotation} where a batch is a list", "annotate list[OrderPaid]")
    return typing.get_args(annotation)[0]

"""What a bus receives, as an AsyncAPI 3.0 document: channels are topics, operations are a group's subscriptions.

    channels      orders.paid ── messages ── OrderPaid ──> components/messages ── payload ──> components/schemas
    operations    orders.paid:billing, action receive, with what only hasten has: x-hasten-group, -retry, ...

What is published is not in it: any code may publish anything.

Source: AsyncAPI 3.0.0; a payload's schema is JSON Schema as msgspec or pydantic writes it.
"""

import inspect
import sys
import typing
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.events._broker import Subscription
from hasten.events._handler import Handler
from hasten.events._payload import BYTES
from hasten.events._policy import Batch, RetryPolicy

VERSION = "3.0.0"
_SCHEMAS = "#/components/schemas/"
_HEADERS = "hasten-headers"  # with a dash, which no type has in its name
_NAMELESS = {"builtins", "typing"}  # modules whose types say nothing of what a message is about
_TEXT = {"type": "string"}
_BYTES = {"type": "string", "contentEncoding": "binary"}  # as they are: msgspec's base64 is for bytes within JSON
_SECONDS = {"type": "number", "description": "Seconds since 1970-01-01 UTC."}
_TRACE = {"type": "string", "description": "W3C Trace Context."}
_AMQP = {
    "hasten.key": {"type": "string", "description": "Messages of one key may be handled in order."},
    "hasten.time": _SECONDS,
    "hasten.deadline": _SECONDS,
    "hasten.attempt": {"type": "integer", "minimum": 1},
    "traceparent": _TRACE,
}
_KAFKA = {
    "ce_specversion": {"type": "string", "const": "1.0"},
    **dict.fromkeys(("ce_id", "ce_source", "ce_type", "content-type"), _TEXT),
    "traceparent": _TRACE,
    "hasten-deadline": {"type": "string", "description": "Seconds since 1970-01-01 UTC."},
}
_BY_PROTOCOL: dict[str, dict[str, Any]] = {"amqp": _AMQP, "amqps": _AMQP, "kafka": _KAFKA}


@dataclass(frozen=True, slots=True)
class Receiving:
    """A subscription, as it is described.

    Attributes:
      function: Of the user.
      concurrency: Calls of it at once.
      once: Whether each message has its effect once.
    """

    subscription: Subscription
    function: Handler
    concurrency: int
    retry: RetryPolicy
    once: bool
    batch: Batch | None

    @property
    def payload(self) -> Any:
        """The annotation of one payload; Any if it has none."""
        first = next(iter(inspect.signature(self.function).parameters))
        annotation = typing.get_type_hints(self.function).get(first, Any)
        if self.batch is not None and (items := typing.get_args(annotation)):
            return items[0]
        return annotation


def document(
    receiving: Iterable[Receiving], *, title: str, version: str, broker: str, content_type: str
) -> dict[str, Any]:
    """Return the document, made of what JSON has.

    Args:
      title, version: Of the application.
      broker: Its name, without a password.
      content_type: Of what is published by the same bus.
    Raises:
      ConfigurationError: a payload has no schema.
    """
    sorts = sorted(receiving, key=lambda each: (each.subscription.topic, each.subscription.group))
    protocol = broker.partition(" ")[0]
    schemas, components = _schemas([each.payload for each in sorts])
    headers = _BY_PROTOCOL.get(protocol)
    if headers is not None:
        components[_HEADERS] = {"type": "object", "properties": headers}
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for each, schema in zip(sorts, schemas, strict=True):
        topic, group = each.subscription.topic, each.subscription.group
        channel = channels.setdefault(topic, {"address": topic, "messages": {}})
        message = _message(each.payload, schema, content_type, has_headers=headers is not None)
        name = _name_in(channel["messages"], messages, topic, message)
        operations[f"{topic}:{group}"] = _operation(each, name)
    made = {"asyncapi": VERSION, "info": {"title": title, "version": version}, "defaultContentType": content_type}
    if servers := _servers(broker):
        made["servers"] = servers
    parts = {"messages": messages, "schemas": components}
    return {**made, "channels": channels, "operations": operations, "components": parts}


def _message(payload: Any, schema: dict[str, Any], content_type: str, *, has_headers: bool) -> dict[str, Any]:
    name = payload.__name__ if isinstance(payload, type) and payload.__module__ not in _NAMELESS else ""
    message: dict[str, Any] = {
        "name": name if name.isidentifier() else "payload",
        "contentType": BYTES if payload is bytes else content_type,
        "payload": schema,
    }
    if has_headers:
        message["headers"] = {"$ref": f"{_SCHEMAS}{_HEADERS}"}
    return message


def _name_in(here: dict[str, Any], all_messages: dict[str, Any], topic: str, message: dict[str, Any]) -> str:
    """Add a message to a channel, unless another group gets the same one; return its name there."""
    number = 1
    while True:
        name = message["name"] if number == 1 else f"{message['name']}_{number}"
        known = all_messages.setdefault(f"{topic}.{name}", message)
        if known == message:
            here[name] = {"$ref": f"#/components/messages/{topic}.{name}"}
            return name
        number += 1


def _operation(each: Receiving, message: str) -> dict[str, Any]:
    topic = each.subscription.topic
    operation: dict[str, Any] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{message}"}],
        "x-hasten-group": each.subscription.group,
        "x-hasten-concurrency": each.concurrency,
        "x-hasten-ordered": each.subscription.ordered,
        "x-hasten-once": each.once,
        "x-hasten-retry": asdict(each.retry),
    }
    if each.batch is not None:
        operation["x-hasten-batch"] = asdict(each.batch)
    if text := inspect.getdoc(each.function):
        operation["summary"] = text.partition("\n")[0]
    return operation


def _servers(broker: str) -> dict[str, Any]:
    """Return the servers of a broker's name, `amqp localhost:5672,other:5672/vhost`; none of what is in memory."""
    protocol, _, place = broker.partition(" ")
    hosts, _, path = place.partition("/")
    if protocol not in _BY_PROTOCOL or not hosts:
        return {}
    servers: dict[str, Any] = {}
    for number, host in enumerate(hosts.split(","), 1):
        name = protocol if number == 1 else f"{protocol}-{number}"
        servers[name] = {"host": host, "protocol": protocol}
        if path:
            servers[name]["pathname"] = f"/{quote(path, safe='')}"
        if protocol != "kafka":
            servers[name]["protocolVersion"] = "0-9-1"
    return servers


# ---- payloads


def _schemas(payloads: Sequence[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a schema for each payload, and the types that they refer to, by name.

    Raises:
      ConfigurationError: a payload has none.
    """
    models = {at: each for at, each in enumerate(payloads) if _is_for_pydantic(each)}
    others = [each for at, each in enumerate(payloads) if at not in models]
    made, components = msgspec.json.schema_components(others, ref_template=f"{_SCHEMAS}{{name}}")
    by_model, of_models = _by_pydantic(models, taken=components)
    left = iter(made)
    schemas = [by_model[at] if at in models else next(left) for at in range(len(payloads))]
    schemas = [_BYTES if each is bytes else schema for each, schema in zip(payloads, schemas, strict=True)]
    return schemas, {**components, **of_models}


def _is_for_pydantic(payload: Any) -> bool:
    """Whether only pydantic knows a payload.

    Raises:
      ConfigurationError: it does not, either.
    """
    try:
        msgspec.json.schema(payload)
    except TypeError as error:
        if "pydantic" in sys.modules:  # of whom a user has a model
            return True
        raise ConfigurationError(f"payload {payload}", f"has no schema: {error}") from error
    return False


def _by_pydantic(models: dict[int, Any], taken: dict[str, Any]) -> tuple[dict[int, Any], dict[str, Any]]:
    if not models:
        return {}, {}
    import pydantic

    for template in (f"{_SCHEMAS}{{model}}", f"{_SCHEMAS}pydantic.{{model}}"):
        try:
            inputs = [(at, "validation", pydantic.TypeAdapter(each)) for at, each in models.items()]
            made, rest = pydantic.TypeAdapter.json_schemas(inputs, ref_template=template)  # type: ignore[arg-type]
        except pydantic.PydanticUserError as error:
            raise ConfigurationError("asyncapi", f"a payload has no schema: {error.message}") from error
        prefix = template.removeprefix(_SCHEMAS).removesuffix("{model}")
        types = {f"{prefix}{name}": schema for name, schema in rest.get("$defs", {}).items()}
        if types.keys().isdisjoint(taken):
            break
    return {at: made[at, "validation"] for at in models}, types

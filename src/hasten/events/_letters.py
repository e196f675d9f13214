"""Dead letters for operators: which ones are meant, and how they are shown."""

import base64
import math
from dataclasses import dataclass
from typing import Any

import msgspec

from hasten.events._envelope import NO_DEADLINE, Envelope
from hasten.events._payload import JSON, MSGPACK


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant: those that all of this is true of.

    Attributes:
      ids: They have one of these; all if there is none.
      reason: It is in their reason, in lower or upper case.
      published_after, published_before: By `time.time()`.
    """

    ids: frozenset[str] = frozenset()
    reason: str = ""
    published_after: float = -math.inf
    published_before: float = math.inf

    def __call__(self, envelope: Envelope) -> bool:
        """Return whether a dead letter is meant."""
        return (
            (not self.ids or envelope.id in self.ids)
            and self.reason.casefold() in envelope.reason.casefold()
            and self.published_after <= envelope.time <= self.published_before
        )


def record_of(envelope: Envelope, group: str) -> dict[str, Any]:
    """Return all of a dead letter, to be encoded as JSON on one line.

    `payload` is there if the bytes are JSON or MessagePack, as they say; otherwise `payload_base64`. Times are seconds
    since 1970; `deadline` is null without one.
    """
    record: dict[str, Any] = {
        "id": envelope.id,
        "topic": envelope.topic,
        "group": group,
        "time": envelope.time,
        "reason": envelope.reason,
        "attempt": envelope.attempt,
        "key": envelope.key,
        "origin": envelope.origin,
        "traceparent": envelope.traceparent,
        "deadline": envelope.deadline if envelope.deadline < NO_DEADLINE else None,
        "headers": {_encodable(name): _encodable(value) for name, value in envelope.headers.items()},
        "content_type": envelope.content_type,
    }
    record = {name: _encodable(value) if isinstance(value, str) else value for name, value in record.items()}
    payload = _payload_json(envelope)
    if payload is None:
        return {**record, "payload_base64": base64.b64encode(envelope.body).decode()}
    return {**record, "payload": msgspec.Raw(payload)}


def payload_text(envelope: Envelope, most: int) -> str:
    """Return a payload in so many characters at most, for a terminal."""
    payload = _payload_json(envelope)
    body = envelope.body if payload is None else payload
    return shown(body[: 4 * most + 4].decode("utf-8", "backslashreplace"), most)


def shown(text: str, most: int) -> str:
    """Return text in so many characters at most; what a terminal would obey is written as an escape."""
    plain = "".join(each if each.isprintable() else _escaped(each) for each in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _encodable(text: str) -> str:
    """Return text without lone surrogates, which JSON has no bytes for."""
    return text.encode("utf-8", "backslashreplace").decode()


def _payload_json(envelope: Envelope) -> bytes | None:
    """Return a payload as JSON on one line; None if it is not what it says, or says nothing of the kind."""
    kind = envelope.content_type.partition(";")[0].strip().lower()
    try:
        if kind == JSON or kind.endswith("+json"):
            envelope.body.decode()  # msgspec looks at the form alone
            return msgspec.json.format(envelope.body, indent=-1)
        if kind == MSGPACK:
            return msgspec.json.encode(msgspec.msgpack.decode(envelope.body))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None
    return None

"""Envelopes as Kafka records and back: CloudEvents 1.0 in binary mode, so that others can read and write them.

    key                   the message's key; none without one
    value                 the payload's bytes
    timestamp             when it was published first, in milliseconds
    ce_specversion, ce_id, ce_source, ce_type, content-type, traceparent
    ce_time               in copies only, whose record is younger than the message
    hasten-deadline       by `time.time()`, if it has one
    hasten-not-before     by `time.time()`, if it is to be delivered later
    hasten-attempt, hasten-reason, hasten-group, hasten-key   in the copies of a group: to be retried, or dead
    any other             a header of the user's; one that is named like ours is written as `hasten-header-NAME`

A record from elsewhere needs none of them: its id is where it stands, its payload is taken for JSON. Nothing in a
record makes reading fail: what is not understood is left out. A message that was read and is written again is the same,
but for its time, which has milliseconds, in copies microseconds.

Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2; W3C Trace Context.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from hasten.events._envelope import NO_DEADLINE, Envelope

Headers = list[tuple[str, str | bytes | None]]
"""As the driver's types have it; ours are bytes."""
Stood = tuple[int, str, int, int]
"""A record's timestamp in milliseconds, topic, partition and offset."""
_VERSION = ("ce_specversion", b"1.0")
_NO_SOURCE = "/"  # CloudEvents asks for one
_OURS = "hasten-header-"
_FIXED = {"content-type", "traceparent"}
_ID = re.compile(r"[!-~]{1,128}")
_JSON = "application/json"


class Record(msgspec.Struct, frozen=True):
    """What is read out of a record.

    Attributes:
      not_before: By `time.time()`: when it may be delivered; 0.0 at once.
      group: For which group it was written; empty for all.
      of: The topic that it says it was published to; empty if it says nothing.
    """

    envelope: Envelope
    not_before: float
    group: str
    of: str


# ---- writing


def key_of(envelope: Envelope) -> bytes | None:
    """Return a record's key: messages of one key share a partition."""
    return envelope.key.encode("utf-8", "surrogatepass") or None


def headers_of(envelope: Envelope, not_before: float = 0.0) -> Headers:
    """Return the headers of a message that is published; 1 µs."""
    headers: Headers = [
        _VERSION,
        ("ce_id", envelope.id.encode()),
        ("ce_source", (envelope.origin or _NO_SOURCE).encode("utf-8", "surrogatepass")),
        ("ce_type", envelope.topic.encode("utf-8", "surrogatepass")),
        ("content-type", envelope.content_type.encode("utf-8", "surrogatepass")),
    ]
    if envelope.traceparent:
        headers.append(("traceparent", envelope.traceparent.encode("utf-8", "surrogatepass")))
    if envelope.deadline < NO_DEADLINE:
        headers.append(("hasten-deadline", repr(envelope.deadline).encode()))
    if not_before > 0.0:
        headers.append(("hasten-not-before", repr(not_before).encode()))
    for name, value in envelope.headers.items():
        headers.append((_outside(name), value.encode("utf-8", "surrogatepass")))
    return headers


def copy_headers(envelope: Envelope, group: str, not_before: float = 0.0) -> Headers:
    """Return the headers of a copy for one group."""
    headers = headers_of(envelope, not_before)
    headers.append(("hasten-attempt", b"%d" % envelope.attempt))
    headers.append(("hasten-group", group.encode()))
    if envelope.reason:
        headers.append(("hasten-reason", envelope.reason.encode("utf-8", "surrogatepass")))
    if moment := _text_of(envelope.time):
        headers.append(("ce_time", moment))
    return headers


def dead_headers(envelope: Envelope, group: str) -> Headers:
    """Return the headers of a dead letter, whose record has a key of its own."""
    headers = copy_headers(envelope, group)
    headers.append(("hasten-key", envelope.key.encode("utf-8", "surrogatepass")))
    return headers


def _outside(name: str) -> str:
    """Return the name of a user's header on the wire."""
    return f"{_OURS}{name}" if name in _FIXED or name.startswith(("ce_", "hasten-")) else name


def _text_of(moment: float) -> bytes | None:
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat().encode() if moment > 0.0 else None
    except (OverflowError, ValueError, OSError):
        return None


# ---- reading


def record_of(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, Any]] | None,
    stood: Stood,
) -> Record:
    """Return what a record says, whoever wrote it; 2 µs.

    Args:
      topic: That was subscribed to.
      stood: When and where; the place is its id if it has none.
    """
    left = dict(headers) if headers else {}
    left.pop("ce_specversion", None)
    moment = stood[0]
    of, source = _take(left, "ce_type"), _take(left, "ce_source")
    envelope = Envelope(
        topic=topic,
        body=value or b"",
        content_type=_take(left, "content-type") or _take_any_case(left, "content-type") or _JSON,
        id=_checked_id(_take(left, "ce_id")) or f"{stood[1]}-{stood[2]}-{stood[3]}",
        key=_text(key) if key else "",
        origin="" if source == _NO_SOURCE else source,
        time=moment / 1000.0 if moment > 0 else 0.0,
        traceparent=_take(left, "traceparent") or _take(left, "ce_traceparent"),
        headers={},
    )
    not_before, group = 0.0, ""
    if left:
        not_before, group = _read_ours(envelope, left)
        envelope.headers = {_inside(name): _text(each) for name, each in left.items()}
    if of and of != topic:
        envelope.headers.setdefault("ce_type", of)
    return Record(envelope, not_before, group, of)


def _read_ours(envelope: Envelope, left: dict[str, Any]) -> tuple[float, str]:
    """Take what is rare out of the headers; return when it may be delivered, and the group."""
    envelope.deadline = _number(_take(left, "hasten-deadline"), NO_DEADLINE)
    envelope.attempt = max(1, int(_number(_take(left, "hasten-attempt"), 1.0)))
    envelope.reason = _take(left, "hasten-reason")
    if "hasten-key" in left:
        envelope.key = _take(left, "hasten-key")
    if moment := _take(left, "ce_time"):
        envelope.time = _moment(moment, envelope.time)
    return max(0.0, _number(_take(left, "hasten-not-before"), 0.0)), _take(left, "hasten-group")


def _take(left: dict[str, Any], name: str) -> str:
    raw = left.pop(name, None)
    return _text(raw) if raw else ""


def _take_any_case(left: dict[str, Any], name: str) -> str:
    return next((_take(left, each) for each in list(left) if each.lower() == name), "")


def _text(raw: bytes | None) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass") if raw else ""
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace") if raw else ""


def _inside(name: str) -> str:
    """Return the name of a user's header in the envelope."""
    name = name.lower()
    return name.removeprefix(_OURS)


def _checked_id(text: str) -> str:
    return text if _ID.fullmatch(text) else ""


def _number(text: str, otherwise: float) -> float:
    """Return a finite number that a header says."""
    try:
        number = float(text) if text else otherwise
    except ValueError:
        return otherwise
    return number if -1e15 < number < 1e15 else otherwise


def _moment(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (OverflowError, ValueError, OSError):
        return otherwise

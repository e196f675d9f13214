"""Reading the header fields of ASGI messages: pairs of bytes, names in lower case, a name as often as it was sent."""

import re
from calendar import timegm
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]

_LISTS = frozenset((b"accept", b"accept-charset", b"accept-encoding", b"accept-language"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = r"(?P<time>\d\d:\d\d:\d\d)"
_DATES = (  # the form in use, and the two obsolete ones
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<month>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {_TIME} GMT", re.ASCII),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{{2}})-(?P<year>\d\d) {_TIME} GMT", re.ASCII),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[\d ]\d) {_TIME} (?P<year>\d{{4}})", re.ASCII),
)


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Return the value of each line with this name."""
    return [value for key, value in headers if key == name]


def combined(headers: Headers, name: bytes) -> bytes | None:
    """Return the values of all lines with this name as one list (RFC 9110 section 5.3); None if there is no line."""
    lines = values(headers, name)
    return b", ".join(lines) if lines else None


def without(headers: Headers, name: bytes | None) -> list[tuple[bytes, bytes]]:
    """Return all lines but those with this name, which may be in any case there; all of them if it is None."""
    return [pair for pair in headers if bytes(pair[0]).lower() != name] if name is not None else list(headers)


def members(lines: Iterable[bytes]) -> list[bytes]:
    """Return the members of a list of tokens, in lower case."""
    return [member for line in lines for part in line.split(b",") if (member := part.strip().lower())]


def compared(name: bytes, value: bytes | None) -> bytes | None:
    """Return a request field's value as it is compared with another request's (RFC 9111 section 4.1).

    Lists of preferences are compared without case and spaces, all else as it is sent.
    """
    return value if value is None or name not in _LISTS else value.lower().replace(b" ", b"").replace(b"\t", b"")


def http_date(value: bytes) -> float | None:
    """Return the moment of a date, by `time.time()`; None if it is none. Source: RFC 9110 section 5.6.7."""
    text = value.decode("latin-1").strip()
    found = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    year, day = int(found["year"]), int(found["day"])
    if year < 100:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = map(int, found["time"].split(":"))
    if found["month"] not in _MONTHS or year < 1900 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return None
    return float(timegm((year, _MONTHS.index(found["month"]) + 1, day, hour, minute, second)))


def whole_seconds(value: bytes) -> int | None:
    """Return a field's value as a number of seconds; None if it is none."""
    text = value.strip()
    return min(int(text), 2**31) if text.isdigit() and len(text) <= 20 else None

"""Cache-Control: what a sender says about caching, read so that broken input never makes a response live longer.

Source: RFC 9111 sections 4.2.1 and 5.2.
"""

import re
from collections.abc import Iterable

from hasten.http._fields import Headers, combined, values

MOST_SECONDS = 2**31
"""Longer times count as this one (RFC 9111 section 1.2.2)."""

# Possessive, so that a line is read in time linear in its length, whatever it holds.
_DIRECTIVE = re.compile(
    r"""[\s,]*+ ([^\s,="]++) (?: \s*+ = \s*+ (?: "((?:[^"\\]|\\.)*+)" | ([^\s,"]*+) ) )? \s*+ (?=,|$)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_BROKEN = ("no-store", None)


class Directives:
    """The directives of one message.

    Directives that are not known are kept and mean nothing. A time that is no whole number of seconds counts as 0, and
    so does one that is given twice with different values: the response is stale, or the client wants a fresh one.

    Args:
      arguments: The values of each directive by its name in lower case, None where it has no value.
    """

    __slots__ = ("_arguments",)

    def __init__(self, arguments: dict[str, list[str | None]]) -> None:
        self._arguments = arguments

    def __contains__(self, name: str) -> bool:
        return name in self._arguments

    def seconds(self, name: str) -> int | None:
        """Return the time that a directive gives, in seconds; None if the directive is not there."""
        values = self._arguments.get(name)
        if values is None:
            return None
        times = {_seconds(value) for value in values}
        return times.pop() if len(times) == 1 else 0

    def bare(self, name: str) -> bool:
        """Whether a directive is there without a list of fields, so that it is about the whole response."""
        return any(not value for value in self._arguments.get(name, ()))

    def fields(self, name: str) -> frozenset[bytes]:
        """Return the fields that a directive lists, in lower case: `no-cache="set-cookie, x-user"`."""
        words = [word for value in self._arguments.get(name, ()) if value for word in value.split(",")]
        return frozenset(word.strip().lower().encode("latin-1") for word in words if word.strip())


NOTHING = Directives({})
"""What a message without Cache-Control says."""


def parse_cache_control(lines: Iterable[bytes]) -> Directives:
    """Return the directives of all Cache-Control lines of a message; linear in their length, never an error.

    What cannot be read, as an open quote or a `;` in the place of a comma, counts as no-store from there on.
    """
    arguments: dict[str, list[str | None]] = {}
    for line in lines:
        for name, value in _parsed(line.decode("latin-1")):
            arguments.setdefault(name.lower(), []).append(value)
    return Directives(arguments) if arguments else NOTHING


def asked_directives(headers: Headers) -> Directives:
    """Return what a request asks of caches; Pragma counts where there is no Cache-Control (section 5.4)."""
    lines = values(headers, b"cache-control")
    if lines:
        return parse_cache_control(lines)
    pragma = combined(headers, b"pragma")
    return NOTHING if pragma is None or b"no-cache" not in pragma.lower() else parse_cache_control([b"no-cache"])


def is_accepted(asked: Directives, age: float, lifetime: float) -> bool:
    """Whether a response, fresh or as stale as may be served, is good enough for who asks (section 5.2.1)."""
    if asked is NOTHING:
        return True
    max_age, min_fresh = asked.seconds("max-age"), asked.seconds("min-fresh")
    stale_for = age - lifetime
    if "no-cache" in asked or (min_fresh is not None and stale_for > -min_fresh):
        return False
    if max_age is not None and (int(age) > max_age or (stale_for > 0.0 and "max-stale" not in asked)):
        return False
    if stale_for <= 0.0 or "max-stale" not in asked or asked.bare("max-stale"):
        return True
    return stale_for <= (asked.seconds("max-stale") or 0)


def _parsed(line: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    position, end = 0, len(line.rstrip(", \t\r\n\f\v"))
    while position < end:
        match = _DIRECTIVE.match(line, position, end)
        if match is None:
            return [*found, _BROKEN]
        name, quoted, plain = match.groups()
        found.append((name, plain if quoted is None else _ESCAPED.sub(r"\1", quoted)))
        position = match.end()
    return found


def _seconds(value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdecimal():
        return 0
    return min(int(value), MOST_SECONDS) if len(value) <= 10 else MOST_SECONDS

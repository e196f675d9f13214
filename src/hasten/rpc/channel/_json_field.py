"""Reading JSON that somebody else wrote: each value knows its path, and each error says it.

What is accepted is what grpc-core's JSON loader accepts; beyond it null stands for an absent field everywhere, as in
proto3's JSON mapping, and a duration may begin with its point (".5s"), as gRFC A6 writes them.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from hasten._core.errors import ConfigurationError

LARGEST_UINT32 = 2**32 - 1
LONGEST_DURATION = 315_576_000_000.0
"""Seconds in 10,000 years, google.protobuf.Duration's bound."""
_DURATION = re.compile(r"([0-9]{0,12})(?:\.([0-9]{1,9}))?s")
_UNSIGNED = re.compile(r"[0-9]{1,10}")


class JsonField:
    """A value in a JSON document, with its path as `methodConfig[0].timeout`."""

    __slots__ = ("_document", "path", "value")

    def __init__(self, document: str, path: str, value: Any) -> None:
        """Wrap a value; `document` says in errors what the path is in."""
        self._document = document
        self.path = path
        self.value = value

    def wrong(self, problem: str, remedy: str = "") -> ConfigurationError:
        """Return the error to raise, with this field's path."""
        where = f"{self._document}: {self.path}" if self.path else self._document
        return ConfigurationError(where, problem, remedy)

    def get(self, key: str) -> "JsonField | None":
        """Return a field of this object; None when it is absent or null."""
        value = self._object().get(key)
        return None if value is None else self._child(f".{key}" if self.path else key, value)

    def required(self, key: str) -> "JsonField":
        """Return a field of this object that must be there."""
        found = self.get(key)
        if found is None:
            raise self._child(f".{key}" if self.path else key, None).wrong("missing")
        return found

    def items(self) -> Iterator["JsonField"]:
        """Yield the elements of this array."""
        if not isinstance(self.value, list | tuple):
            raise self.wrong("not an array")
        return (self._child(f"[{index}]", value) for index, value in enumerate(self.value))

    def single(self) -> "tuple[str, JsonField]":
        """Return the only key of this object and its value."""
        found = self._object()
        if len(found) != 1:
            raise self.wrong(f"has {len(found)} keys", "exactly one is allowed")
        key, value = next(iter(found.items()))
        return str(key), self._child(f".{key}", {} if value is None else value)

    def text(self) -> str:
        """Return a string."""
        if not isinstance(self.value, str):
            raise self.wrong("not a string")
        return self.value

    def flag(self) -> bool:
        """Return a boolean."""
        if not isinstance(self.value, bool):
            raise self.wrong("not a boolean")
        return self.value

    def unsigned(self) -> int:
        """Return an integer from 0 to 2**32 - 1, written as a number or as a string."""
        value = self.value
        if isinstance(value, str) and _UNSIGNED.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_UINT32:
            raise self.wrong("not an integer from 0 to 4294967295")
        return value

    def number(self) -> float:
        """Return a finite number, written as a number or as a string."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self.wrong("not a number")
        try:
            found = float(value)
        except (ValueError, OverflowError) as error:
            raise self.wrong("not a number") from error
        if not math.isfinite(found):
            raise self.wrong("not a finite number")
        return found

    def seconds(self) -> float:
        """Return a proto3 duration, "1.5s", as seconds."""
        match = _DURATION.fullmatch(self.value) if isinstance(self.value, str) else None
        if match is None or not (match[1] or match[2]):
            raise self.wrong("not a duration", 'seconds with at most 9 decimals and an s: "1.5s"')
        found = float(f"{match[1] or 0}.{match[2] or 0}")
        if found > LONGEST_DURATION:
            raise self.wrong(f"longer than {LONGEST_DURATION:.0f} s")
        return found

    def positive_seconds(self) -> float:
        """Return a duration above zero."""
        found = self.seconds()
        if not found:
            raise self.wrong("must be greater than 0")
        return found

    def _object(self) -> Mapping[Any, Any]:
        if not isinstance(self.value, Mapping):
            raise self.wrong("not an object")
        return self.value

    def _child(self, step: str, value: Any) -> "JsonField":
        return JsonField(self._document, self.path + step, value)


def read_json(document: str, source: object) -> JsonField:
    """Parse JSON text, or take what was parsed already.

    Args:
      document: What it is, for errors: "service config".
      source: Text in UTF-8, or a mapping.
    Raises:
      ConfigurationError: it is no JSON (RFC 8259: NaN and Infinity are none), or no object.
    """
    root = JsonField(document, "", source)
    if isinstance(source, str | bytes | bytearray):
        try:
            root.value = json.loads(source, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise root.wrong(f"not valid JSON: {reason}") from error
    if not isinstance(root.value, Mapping):
        raise root.wrong("not an object")
    return root


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")

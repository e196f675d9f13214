"""JSON Schema draft 07, as far as AsyncAPI's schema uses it; what it does not know it refuses, and passes nothing over.

Source: draft-handrews-json-schema-validation-01.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

_SAID_ONLY = {
    *("$schema", "$id", "$comment", "title", "description", "default", "examples", "definitions", "format"),
    *("readOnly", "writeOnly", "contentEncoding", "contentMediaType", "markdownDescription", "deprecated"),
}
_WITH_ANOTHER = {"then", "else", "additionalItems"}
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0,
}


class Schema:
    """A schema that refers to parts of itself alone."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def problems(self, value: Any) -> list[str]:
        """Return what is wrong with a value."""
        return list(self._problems(self._root, value, "#"))

    def _problems(self, schema: Any, value: Any, at: str) -> Iterator[str]:
        if isinstance(schema, bool):
            if not schema:
                yield f"{at}: not allowed"
        elif "$ref" in schema:  # what stands beside it is ignored
            yield from self._problems(self._part(schema["$ref"]), value, at)
        else:
            for keyword, wanted in schema.items():
                if keyword not in _SAID_ONLY | _WITH_ANOTHER and not keyword.startswith("x-"):
                    yield from self._keyword(keyword, wanted, schema, value, at)

    def _part(self, reference: str) -> Any:
        assert reference.startswith("#"), reference
        found = self._root
        for name in reference[1:].split("/")[1:]:
            found = found[name.replace("~1", "/").replace("~0", "~")]
        return found

    def _holds(self, schema: Any, value: Any) -> bool:
        return next(self._problems(schema, value, ""), None) is None

    def _keyword(self, keyword: str, wanted: Any, schema: Any, value: Any, at: str) -> Iterator[str]:
        if keyword in _ASSERTIONS:
            if not _ASSERTIONS[keyword](wanted, value):
                yield f"{at}: {keyword} {json.dumps(wanted)[:80]}"
        elif keyword in {"properties", "patternProperties", "additionalProperties"}:
            if isinstance(value, dict) and (keyword == "properties" or not _is_done_before(keyword, schema)):
                yield from self._members(schema, value, at)
        elif keyword == "propertyNames":
            for name in value if isinstance(value, dict) else ():
                yield from self._problems(wanted, name, f"{at}/{name}")
        elif keyword == "items":
            for number, item in enumerate(value) if isinstance(value, list) else ():
                beyond = schema.get("additionalItems", True)
                one = wanted if not isinstance(wanted, list) else (wanted + [beyond] * len(value))[number]
                yield from self._problems(one, item, f"{at}/{number}")
        else:
            yield from self._combined(keyword, wanted, schema, value, at)

    def _members(self, schema: Any, value: dict[str, Any], at: str) -> Iterator[str]:
        for name, member in value.items():
            places = [schema["properties"][name]] if name in schema.get("properties", {}) else []
            patterns = schema.get("patternProperties", {})
            places += [place for pattern, place in patterns.items() if re.search(pattern, name)]
            for place in places or [schema.get("additionalProperties", True)]:
                yield from self._problems(place, member, f"{at}/{name}")

    def _combined(self, keyword: str, wanted: Any, schema: Any, value: Any, at: str) -> Iterator[str]:
        if keyword == "allOf":
            for one in wanted:
                yield from self._problems(one, value, at)
        elif keyword in {"anyOf", "oneOf"}:
            count = sum(self._holds(one, value) for one in wanted)
            if count == 0 or (keyword == "oneOf" and count > 1):
                reasons = [f"({'; '.join(self._problems(one, value, at))})" for one in wanted]
                yield f"{at}: {count} of {keyword} {' '.join(reasons)}"[:2000]
        elif keyword == "not":
            if self._holds(wanted, value):
                yield f"{at}: not {json.dumps(wanted)[:80]}"
        elif keyword == "if":
            yield from self._problems(schema.get("then" if self._holds(wanted, value) else "else", True), value, at)
        else:
            raise NotImplementedError(f"{at}: the keyword {keyword}")


def _is_done_before(keyword: str, schema: Any) -> bool:
    """Whether a keyword's members were looked at together with those of another one."""
    return "properties" in schema or (keyword == "additionalProperties" and "patternProperties" in schema)


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _all_differ(values: list[Any]) -> bool:
    return len({json.dumps(each, sort_keys=True) for each in values}) == len(values)


def _size_within(kind: Any, least: float, most: float) -> Callable[[Any, Any], bool]:
    """Return whether a value of a kind has a length; a bound that is NaN is the keyword's."""

    def holds(wanted: Any, value: Any) -> bool:
        low = wanted if math.isnan(least) else least
        high = wanted if math.isnan(most) else most
        return not isinstance(value, kind) or low <= len(value) <= high

    return holds


def _number(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda wanted, value: not _TYPES["number"](value) or holds(wanted, value)


_ASSERTIONS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda wanted, value: any(
        _TYPES[name](value) for name in ([wanted] if isinstance(wanted, str) else wanted)
    ),
    "enum": lambda wanted, value: any(_same(one, value) for one in wanted),
    "const": _same,
    "required": lambda wanted, value: not isinstance(value, dict) or set(wanted) <= value.keys(),
    "pattern": lambda wanted, value: not isinstance(value, str) or re.search(wanted, value) is not None,
    "minLength": _size_within(str, math.nan, math.inf),
    "maxLength": _size_within(str, 0, math.nan),
    "minItems": _size_within(list, math.nan, math.inf),
    "maxItems": _size_within(list, 0, math.nan),
    "minProperties": _size_within(dict, math.nan, math.inf),
    "maxProperties": _size_within(dict, 0, math.nan),
    "uniqueItems": lambda wanted, value: not wanted or not isinstance(value, list) or _all_differ(value),
    "minimum": _number(lambda wanted, value: value >= wanted),
    "maximum": _number(lambda wanted, value: value <= wanted),
    "exclusiveMinimum": _number(lambda wanted, value: value > wanted),
    "exclusiveMaximum": _number(lambda wanted, value: value < wanted),
}

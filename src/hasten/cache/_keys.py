"""Keys: values that tell a function's arguments apart, in memory and, as text, in the second tier.

A key in memory is made of int, str, bytes, None and tuples of them, and nothing else, so that two keys are equal when
they are written alike: Python's `1 == 1.0 == True` has no place in it. An int, a str and None stand for themselves; all
other values become a tuple that begins with the name of their type. A key of the second tier is a digest of what is
written, so that it is the same in each process, with any PYTHONHASHSEED, and equal exactly when the keys are.

What counts as the same:

- Types count: 1, 1.0, True, "1", b"1" and an enum's member with the value 1 are six keys, a list is no tuple, and a
  subclass is another type. A class is known by its module and qualified name.
- -0.0 and 0.0 are two keys, as functions may tell them apart. NaN is one key, whatever its sign and payload.
- The order of a set or a dict does not count; that of an OrderedDict does.
- Decimal("1.0") and Decimal("1.00") are two keys. So are one instant in two time zones.
- Of dataclasses and attrs classes the fields that they are compared by count; of pydantic models extra and private
  attributes too.
- An object with a method `__cache_key__` is its class and what the method returns.
"""

import dataclasses
import enum
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID

import msgspec

from hasten._core.errors import ConfigurationError

TRUE: Hashable = ("bool", 1)
FALSE: Hashable = ("bool", 0)
UUID_TAG = "UUID"
BYTES_TAG = "bytes"

_REMEDY = "give key=, a function of the arguments that count, or its class a method __cache_key__"
_DIGEST_BYTES = 20
_NAMESPACE_LENGTH, _REGION_LENGTH, _VERSION_LENGTH, _READABLE_LENGTH = 32, 64, 16, 40  # with the rest 196
_UNREADABLE = re.compile(r"[^A-Za-z0-9_.:@+=/-]+")


class _Refused(Exception):
    """Raised when a value has no key; `key_of` says which argument holds it."""


def key_of(value: object, argument: str) -> Hashable:
    """Return the key of one value; 0.03 µs for a str or an int, 0.5 to 3 µs for a small container or object.

    Args:
      argument: Who holds the value, for the error: `load_product(product_id)`.
    Raises:
      ConfigurationError: the value, or a part of it, says nothing stable about itself: a session, a function.
    """
    if type(value) is int or type(value) is str:  # saves 40 ns
        return value
    try:
        return _key_of(value)
    except _Refused as refused:
        raise ConfigurationError(argument, f"{refused} has no stable value to make a key of", _REMEDY) from None
    except RecursionError:
        raise ConfigurationError(argument, "is nested too deeply to make a key of", _REMEDY) from None


def class_name(kind: type) -> str:
    """Return the name by which a class is known in keys: `shop.models:Product`."""
    return f"{kind.__module__}:{kind.__qualname__}"


class TextKeys:
    """Makes the keys of the second tier for one region, 1 to 2 µs each.

    They are `namespace:region:version:readable:digest`: at most 200 printable ASCII characters without spaces. All but
    the digest is for people and may be cut or replaced; the digest covers everything, uncut. What is readable shows the
    beginning of the arguments: a function of secrets has a `key=` that hashes them.

    Args:
      version: Another one makes other keys: see `fingerprint`.
    """

    __slots__ = ("_begun", "_prefix")

    def __init__(self, namespace: str, region: str, version: str) -> None:
        names = (
            _readable(namespace)[:_NAMESPACE_LENGTH],
            _readable(region)[-_REGION_LENGTH:],
            _readable(version)[:_VERSION_LENGTH],
        )
        self._prefix = ":".join(names)
        self._begun = blake2b(ascii((namespace, region, version)).encode(), digest_size=_DIGEST_BYTES)

    def __call__(self, key: Hashable) -> str:
        """Return the text of a key: one of `key_of`, or a tuple of such."""
        written = _written(key)
        digest = self._begun.copy()
        digest.update(written.encode())
        if written.isalnum() and len(written) <= _READABLE_LENGTH:
            readable = written  # a number: saves 0.3 µs
        else:
            readable = _readable(written[: 2 * _READABLE_LENGTH]).strip("_")[:_READABLE_LENGTH]
        return f"{self._prefix}:{readable}:{digest.hexdigest()}"


def text_key(namespace: str, region: str, version: str, key: Hashable) -> str:
    """Return the second tier's key; see `TextKeys`, which is for many keys of one region."""
    return TextKeys(namespace, region, version)(key)


def _readable(text: str) -> str:
    return _UNREADABLE.sub("_", text)


def _written(key: Hashable) -> str:
    """Return a key as Python's literals write it, in ASCII: unlike `repr` the same in every version of Python."""
    try:
        return ascii(key)
    except ValueError:  # an int of more than 4,300 digits: Python's guard against CVE-2020-10735
        return ascii(_with_long_ints(key))


def _with_long_ints(key: Hashable) -> Hashable:
    if isinstance(key, tuple):
        return tuple(map(_with_long_ints, key))
    # A tuple that begins with bytes is no other key.
    return (b"int", hex(key)) if isinstance(key, int) else key


# ---- one value


def _key_of(value: Any) -> Hashable:
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value  # type: ignore[no-any-return]
    exact = _EXACT.get(kind)
    return _of_class(value, kind) if exact is None else exact(value)


def _of_class(value: Any, kind: type) -> Hashable:
    """Return the key of an instance of a class that is no builtin."""
    if isinstance(value, type):
        return "type", class_name(value)
    name = class_name(kind)
    if hasattr(kind, "__cache_key__"):
        return name, _key_of(value.__cache_key__())
    if isinstance(value, enum.Flag):
        return name, value.value
    if isinstance(value, enum.Enum):
        return name, value.name
    fields = _fields_of(value, kind)
    return _of_subclass(value, kind, name) if fields is None else (name, *map(_key_of, fields))


def _fields_of(value: Any, kind: Any) -> Iterable[Any] | None:
    """Return what an object consists of if its class says so, else None."""
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(kind):
        return [getattr(value, field.name) for field in dataclasses.fields(kind) if field.compare]
    if hasattr(kind, "__attrs_attrs__"):
        return [getattr(value, field.name) for field in kind.__attrs_attrs__ if field.eq]
    if hasattr(kind, "__pydantic_validator__"):
        fields = [getattr(value, name) for name in kind.model_fields]
        return [*fields, value.__pydantic_extra__, value.__pydantic_private__]
    return None


def _of_subclass(value: Any, kind: type, name: str) -> Hashable:
    """Return the key of an instance of a builtin type's subclass: its class, its value, and its attributes if any."""
    for base in kind.__mro__:
        exact = _EXACT.get(base, _itself if base in {int, str} else None)
        if exact is not None:
            attributes = getattr(value, "__dict__", None)
            return (name, exact(value), _of_dict(attributes)) if attributes else (name, exact(value))
        if vars(base).get("__slots__"):
            break  # holds something beside the value
    raise _Refused(f"an instance of {kind.__module__}.{kind.__qualname__}")


def _itself(value: Any) -> Hashable:
    # int.__int__ and str.__str__, not int() and str(), which a subclass may have changed.
    return int.__int__(value) if isinstance(value, int) else str.__str__(value)


def _of_bool(value: bool) -> Hashable:  # noqa: FBT001  called with a value, not a switch
    return TRUE if value else FALSE


def _of_float(value: float) -> Hashable:
    return "float", float.hex(value)


def _of_complex(value: complex) -> Hashable:
    return "complex", value.real.hex(), value.imag.hex()


def _of_dict(value: dict[Any, Any]) -> Hashable:
    return "dict", *sorted(((_key_of(key), _key_of(item)) for key, item in dict.items(value)), key=_written)


def _of_ordered_dict(value: "OrderedDict[Any, Any]") -> Hashable:
    return "OrderedDict", *((_key_of(key), _key_of(item)) for key, item in value.items())


def _of_datetime(value: datetime) -> Hashable:
    return "datetime", value.isoformat(), value.fold, _zone(value.tzinfo, value)


def _of_time(value: time) -> Hashable:
    return "time", value.isoformat(), value.fold, _zone(value.tzinfo, None)


def _zone(zone: tzinfo | None, moment: datetime | None) -> str | None:
    """Return the name of a time zone: zoneinfo's, pytz's, or the zone's own; its offset stands in the ISO format."""
    if zone is None:
        return None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or zone.tzname(moment)
    return None if name is None else str(name)


def _sequence(tag: str) -> Callable[[Iterable[Any]], Hashable]:
    return lambda value: (tag, *map(_key_of, value))


def _unordered(tag: str) -> Callable[[Iterable[Any]], Hashable]:
    return lambda value: (tag, *sorted(map(_key_of, value), key=_written))


def _tagged(tag: str, of: Callable[[Any], Hashable]) -> Callable[[Any], Hashable]:
    return lambda value: (tag, of(value))


_PATHS = (PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath)
_EXACT: dict[type, Callable[[Any], Hashable]] = {
    bool: _of_bool,
    bytes: _tagged(BYTES_TAG, bytes),
    bytearray: _tagged("bytearray", bytes),
    float: _of_float,
    complex: _of_complex,
    tuple: _sequence("tuple"),
    list: _sequence("list"),
    set: _unordered("set"),
    frozenset: _unordered("frozenset"),
    dict: _of_dict,
    OrderedDict: _of_ordered_dict,
    range: lambda value: ("range", value.start, value.stop, value.step),
    UUID: _tagged(UUID_TAG, lambda value: value.int),
    Decimal: _tagged("Decimal", lambda value: str(value).upper()),  # its E depends on the context
    Fraction: lambda value: ("Fraction", value.numerator, value.denominator),
    datetime: _of_datetime,
    date: _tagged("date", date.isoformat),
    time: _of_time,
    timedelta: lambda value: ("timedelta", value.days, value.seconds, value.microseconds),
    **{kind: _tagged(kind.__name__, str) for kind in _PATHS},
}
"""Makers of keys by exact type. Never written after import."""

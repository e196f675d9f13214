"""Which annotations msgspec restores exactly, and which values it would change on the way.

msgspec decodes by the annotation, not by the value: a tuple where a list is annotated comes back as a list, a subclass
as its base, an int as a float, what is in an Any as dict and list. A cache must not do that: what is served from it
would differ from what was loaded. So `exact(annotation)` refuses annotations that lose something, and returns a check
for values, which `encode` makes; it looks at each part of a value once, before the value is stored: some 80 ns a part,
10 ns where a container holds one type of simple things.
"""

import dataclasses
import datetime
import decimal
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from hasten._core.errors import ConfigurationError, HastenError

Check = Callable[[Any], None]

_MINUTE = datetime.timedelta(minutes=1)
_SIMPLE: Mapping[type[inspect.Type], type] = {
    inspect.NoneType: type(None),
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
    inspect.BytesType: bytes,
    inspect.ByteArrayType: bytearray,
    inspect.DateType: datetime.date,
    inspect.TimeDeltaType: datetime.timedelta,
    inspect.DecimalType: decimal.Decimal,
    inspect.UUIDType: uuid.UUID,
}
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_COLLECTIONS: Mapping[type[inspect.Type], type] = {
    inspect.ListType: list,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
    inspect.VarTupleType: tuple,
}


class CodecError(HastenError):
    """Raised when a value cannot be made into bytes that give it back, or when bytes are none that a codec has made.

    The cache does without: such a value stays out of the second tier, such bytes count as not there.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Exact:
    """What is known of an annotation.

    Attributes:
      check: Raises CodecError for a value that would not come back as it is.
      has_times: It has datetimes or times, whose offset msgspec keeps in text alone.
      must_prove: It has classes that work on their fields when they are made (`__post_init__`): only decoding tells.
    """

    check: Check
    has_times: bool
    must_prove: bool


def exact(annotation: Any) -> Exact:
    """Look at an annotation.

    Raises:
      ConfigurationError: values of it cannot be restored.
    """
    try:
        node = inspect.type_info(annotation)
    except (TypeError, NameError) as error:
        raise refusal(annotation, str(error)) from error
    checks = _Checks(annotation)
    return Exact(checks.of(node), checks.has_times, checks.must_prove)


def refusal(annotation: Any, why: str) -> ConfigurationError:
    """Return the error for an annotation that no codec is for."""
    return ConfigurationError(
        f"cached values of {_text(annotation)}",
        why,
        "annotate builtin containers, dataclasses, msgspec.Struct, TypedDict or pydantic models; "
        "or give codec=codec_for(T, pickle_key=...)",
    )


class _Checks:
    """Makes the checks of one annotation, one for each part of it."""

    def __init__(self, annotation: Any) -> None:
        self.has_times = False
        self.must_prove = False
        self._annotation = annotation
        self._known: dict[int, tuple[Check, inspect.Type]] = {}

    def of(self, node: inspect.Type) -> Check:
        known = self._known.get(id(node))
        if known is not None:
            return known[0]
        made: list[Check] = []
        self._known[id(node)] = (lambda value: made[0](value), node)  # for types that contain themselves
        made.append(self._make(node))
        return made[0]

    def _make(self, node: inspect.Type) -> Check:
        # One branch for each kind of type.
        if type(node) in _SIMPLE:
            return _of_type(_SIMPLE[type(node)])
        if isinstance(node, inspect.AnyType) or (isinstance(node, inspect.CustomType) and node.cls is object):
            return check_plain
        if isinstance(node, inspect.DateTimeType | inspect.TimeType):
            self.has_times = True
            return _check_datetime if isinstance(node, inspect.DateTimeType) else _check_time
        if isinstance(node, inspect.EnumType):
            return _of_type(node.cls)
        if isinstance(node, inspect.LiteralType):
            return _of_literal(node.values)
        if isinstance(node, inspect.UnionType):
            return self._union(node)
        if isinstance(node, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
            return _of_items(_COLLECTIONS[type(node)], self.of(node.item_type), _simple(node.item_type))
        if isinstance(node, inspect.TupleType):
            return _of_tuple([self.of(item) for item in node.item_types])
        if isinstance(node, inspect.DictType):
            keys = _of_items(None, self.of(node.key_type), _simple(node.key_type))
            values = _of_items(None, self.of(node.value_type), _simple(node.value_type))
            return _of_dict(keys, values)
        if isinstance(node, inspect.TypedDictType):
            return _of_typed_dict(node.cls, {field.name: self.of(field.type) for field in node.fields})
        if isinstance(node, inspect.StructType | inspect.DataclassType | inspect.NamedTupleType):
            return self._object(node)
        raise refusal(self._annotation, f"{_text(getattr(node, 'cls', node))} cannot be restored")

    def _object(self, node: inspect.StructType | inspect.DataclassType | inspect.NamedTupleType) -> Check:
        cls: Any = typing.get_origin(node.cls) or node.cls
        self.must_prove |= hasattr(cls, "__post_init__") or hasattr(cls, "__attrs_post_init__")
        return _of_object(cls, [(field.name, self.of(field.type)) for field in node.fields])

    def _union(self, node: inspect.UnionType) -> Check:
        checks: dict[type, Check] = {}
        for member in node.types:
            if isinstance(member, inspect.AnyType):
                return check_plain
            for cls in _classes(member):
                if cls in checks:
                    raise refusal(self._annotation, f"two members of a union are {_text(cls)}")
                checks[cls] = self.of(member)
        return _of_union(checks)


def check_plain(value: Any) -> None:
    """Refuse what is not restored without an annotation: all but None, numbers, text, bytes, lists and dicts by str."""
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is list:
        if not _PLAIN.issuperset(map(type, value)):
            for item in value:
                check_plain(item)
    elif kind is dict:
        if not set(map(type, value)) <= {str}:
            raise CodecError("a dict whose keys are not all str; annotate it: dict[int, ...]")
        check_plain(list(value.values()))
    else:
        raise CodecError(f"{_text(kind)} where nothing or Any is annotated: annotate the type that is returned")


def _of_type(cls: type) -> Check:
    def check(value: Any) -> None:
        if type(value) is not cls:
            raise _mismatch(value, cls)

    return check


def _check_datetime(value: Any) -> None:
    if type(value) is not datetime.datetime:
        raise _mismatch(value, datetime.datetime)
    _check_offset(value.utcoffset())


def _check_time(value: Any) -> None:
    if type(value) is not datetime.time:
        raise _mismatch(value, datetime.time)
    _check_offset(value.utcoffset())


def _check_offset(offset: datetime.timedelta | None) -> None:
    if offset is not None and offset % _MINUTE:
        raise CodecError(f"a time zone {offset} from UTC: RFC 3339 has whole minutes only")


def _of_literal(values: Iterable[Any]) -> Check:
    allowed = {(type(value), value) for value in values}

    def check(value: Any) -> None:
        if type(value) not in _PLAIN or (type(value), value) not in allowed:
            raise CodecError(f"{value!r} is not of the literals annotated")

    return check


def _of_items(cls: type | None, of_item: Check, simple: type | None) -> Check:
    """Return the check of what can be iterated; `simple` where a look at the items' types tells all."""
    only = {simple}

    def check(value: Any) -> None:
        if cls is not None and type(value) is not cls:
            raise _mismatch(value, cls)
        if simple is not None and set(map(type, value)) <= only:
            return
        for item in value:
            of_item(item)

    return check


def _of_tuple(items: list[Check]) -> Check:
    def check(value: Any) -> None:
        if type(value) is not tuple or len(value) != len(items):
            raise _mismatch(value, tuple)
        for of_item, item in zip(items, value, strict=True):
            of_item(item)

    return check


def _of_dict(of_keys: Check, of_values: Check) -> Check:
    def check(value: Any) -> None:
        if type(value) is not dict:
            raise _mismatch(value, dict)
        of_keys(value)
        of_values(value.values())

    return check


def _of_typed_dict(cls: type, fields: Mapping[str, Check]) -> Check:
    def check(value: Any) -> None:
        if type(value) is not dict or not value.keys() <= fields.keys():
            raise CodecError(f"{_text(type(value))} with other keys than those of {_text(cls)}")
        for name, item in value.items():
            fields[name](item)

    return check


def _of_object(cls: type, fields: list[tuple[str, Check]]) -> Check:
    def check(value: Any) -> None:
        if type(value) is not cls:
            raise _mismatch(value, cls)
        for name, of_field in fields:
            item = getattr(value, name)
            if item is not msgspec.UNSET:
                of_field(item)

    return check


def _of_union(checks: Mapping[type, Check]) -> Check:
    def check(value: Any) -> None:
        of_member = checks.get(type(value))
        if of_member is None:
            raise CodecError(f"{_text(type(value))} is not of the union annotated")
        of_member(value)

    return check


def _simple(node: inspect.Type) -> type | None:
    return _SIMPLE.get(type(node))


def _classes(node: inspect.Type) -> set[type]:
    """Return the classes that values of a union's member have."""
    if isinstance(node, inspect.LiteralType):
        return {type(value) for value in node.values}
    if isinstance(node, inspect.DateTimeType):
        return {datetime.datetime}
    if isinstance(node, inspect.TimeType):
        return {datetime.time}
    if isinstance(node, inspect.TupleType):
        return {tuple}
    if isinstance(node, inspect.DictType | inspect.TypedDictType):
        return {dict}
    cls: Any = _SIMPLE.get(type(node)) or _COLLECTIONS.get(type(node)) or getattr(node, "cls", type(node))
    return {typing.get_origin(cls) or cls}


def _mismatch(value: Any, cls: type) -> CodecError:
    return CodecError(f"{_text(type(value))} where {_text(cls)} is annotated: it would come back as another type")


def _text(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)

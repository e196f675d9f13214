"""The fingerprint of a schema: part of the second tier's keys, so that no deployment reads what another one wrote.

What counts: names of classes; names, encoded names and types of the fields of dataclasses, msgspec Structs, TypedDicts,
NamedTuples, attrs classes and pydantic models, with those that they hold; tags of Structs; members of enums and
Literals; arguments of generic types. What does not: the order of a union, defaults, constraints (`Annotated`), methods,
and the private modules in which classes are defined.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Any, ForwardRef, Literal, NewType, TypeVar, Union, get_args, get_origin

import msgspec

from hasten.cache._keys import class_name

_FORMAT = "1"
_Seen = tuple[object, ...]


def fingerprint(annotation: object, *others: str) -> str:
    """Return 12 hexadecimal digits that change with a type's schema, in no other case, and are the same everywhere.

    Args:
      annotation: A type, as in a function's annotation; of a name that is not defined its text counts.
      others: What counts beside it: the user's version, the codec's name.
    """
    text = ascii((_FORMAT, *others, _describe(annotation, ())))
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _describe(annotation: Any, seen: _Seen) -> str:
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, str | ForwardRef):
        return annotation if isinstance(annotation, str) else annotation.__forward_arg__
    if hasattr(annotation, "__value__"):  # type Products = list[Product]
        name = str(annotation.__name__)
        return name if annotation in seen else f"{name}={_describe(annotation.__value__, (*seen, annotation))}"
    if isinstance(annotation, NewType):
        return _describe(annotation.__supertype__, seen)
    if isinstance(annotation, TypeVar):
        return _describe(annotation.__bound__ or Any, seen)
    origin = get_origin(annotation)
    if origin is not None:
        return _describe_generic(origin, get_args(annotation), seen)
    return _describe_class(annotation, seen) if isinstance(annotation, type) else str(annotation)


def _describe_generic(origin: Any, arguments: tuple[Any, ...], seen: _Seen) -> str:
    if origin is Annotated:
        return _describe(arguments[0], seen)
    if origin is Literal:
        return f"Literal[{', '.join(sorted(map(_plain, arguments)))}]"
    described = ["..." if argument is ... else _describe(argument, seen) for argument in arguments]
    if origin is Union or origin is types.UnionType:
        return f"({' | '.join(sorted(set(described)))})"
    return f"{_describe(origin, seen)}[{', '.join(described)}]"


def _describe_class(kind: type[Any], seen: _Seen) -> str:
    module, _, name = class_name(kind).partition(":")
    module = module.partition("._")[0]  # pathlib._local.Path of 3.13 was pathlib.Path
    name = name if module == "builtins" else f"{module}:{name}"
    if kind in seen:
        return name
    if issubclass(kind, enum.Enum):
        return f"{name}{{{', '.join(f'{key}={_plain(member.value)}' for key, member in kind.__members__.items())}}}"
    fields = _fields(kind)
    if fields is None:
        return name
    inner = (*seen, kind)
    return f"{name}{{{', '.join(f'{label}: {_describe(field, inner)}' for label, field in fields)}}}"


def _fields(kind: Any) -> Iterable[tuple[str, Any]] | None:
    """Return names and types of a class's fields; None of a class that has none."""
    if issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        shape = f"{config.tag_field}={config.tag!r} array={config.array_like}"
        return [(shape, None), *_typed(kind, zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))]
    if typing.is_typeddict(kind):
        required: frozenset[str] = kind.__required_keys__
        keys = sorted(required | kind.__optional_keys__)
        return _typed(kind, ((key, key if key in required else f"{key}?") for key in keys))
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_fields"):
        return [(f"{name}/{field.alias}", field.annotation) for name, field in kind.model_fields.items()]
    names = _field_names(kind)
    return None if names is None else _typed(kind, zip(names, names, strict=True))


def _field_names(kind: Any) -> list[str] | None:
    names: list[str] | None = None
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif hasattr(kind, "_fields"):  # a NamedTuple
        names = list(kind._fields)
    return names


def _typed(kind: type[Any], names: Iterable[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Return labels and types of named fields; a type that cannot be looked up, as in TYPE_CHECKING, is its name."""
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:
        hints = {}
    return [(label, hints.get(name, "")) for name, label in names]


def _plain(value: object) -> str:
    """Return a member's value as text; of an object whose text may hold an address, its type."""
    if isinstance(value, enum.Enum):
        return f"{class_name(type(value))}.{value.name}"
    return ascii(value) if isinstance(value, str | int | bytes | float | None) else class_name(type(value))

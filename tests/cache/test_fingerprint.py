"""Fingerprints of schemas."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, Field, create_model

from hasten.cache._fingerprint import fingerprint

T = TypeVar("T")
ProductId = NewType("ProductId", int)


@dataclass
class Node:
    value: int
    parent: "Node | None" = None


class Box(msgspec.Struct, Generic[T]):
    content: T


class Row(TypedDict):
    name: str


class OtherRow(TypedDict):
    name: str


class Place(NamedTuple):
    x: int


def a_dataclass(**fields: Any) -> type:
    return make_dataclass("Product", fields.items())


def a_struct(*fields: Any, **options: Any) -> type:
    return msgspec.defstruct("Product", fields, module="shop", **options)


def a_model(**fields: Any) -> type[BaseModel]:
    return create_model("Product", __module__="shop", **fields)


def an_enum(**members: Any) -> Any:
    return enum.Enum("Colour", members, module="shop")


def typed_dict(fields: dict[str, Any], *, total: bool) -> Any:
    return TypedDict("Row", fields, total=total)  # type: ignore[operator]


DIFFERENT: list[tuple[str, Any, Any]] = [
    ("types", int, str),
    ("arguments", list[int], list[str]),
    ("containers", list[int], set[int]),
    ("lengths", tuple[int, ...], tuple[int]),
    ("None", int, int | None),
    ("literals", Literal["a"], Literal["b"]),
    ("literals' types", Literal[1], Literal["1"]),
    ("added field", a_dataclass(name=str), a_dataclass(name=str, price=int)),
    ("renamed field", a_dataclass(name=str), a_dataclass(title=str)),
    ("retyped field", a_dataclass(price=int), a_dataclass(price=float)),
    ("field of a field", a_dataclass(x=a_dataclass(a=int)), a_dataclass(x=a_dataclass(a=str))),
    ("in a container", list[a_dataclass(a=int)], list[a_dataclass(a=str)]),  # type: ignore[misc]
    ("struct's field", a_struct(("a", int)), a_struct(("a", str))),
    ("struct's order", a_struct(("a", int), ("b", int)), a_struct(("b", int), ("a", int))),
    ("struct's tag", a_struct(("a", int)), a_struct(("a", int), tag="product")),
    ("struct's form", a_struct(("a", int)), a_struct(("a", int), array_like=True)),
    ("struct's names", a_struct(("a_b", int)), a_struct(("a_b", int), rename="camel")),
    ("generic struct", Box[int], Box[str]),
    ("model's field", a_model(a=(int, 1)), a_model(a=(str, "1"))),
    ("model's alias", a_model(a=(int, 1)), a_model(a=(int, Field(1, alias="A")))),
    ("enum's members", an_enum(RED=1), an_enum(RED=1, BLUE=2)),
    ("enum's values", an_enum(RED=1), an_enum(RED=2)),
    ("keys", typed_dict({"a": int}, total=True), typed_dict({"b": int}, total=True)),
    ("required keys", typed_dict({"a": int}, total=True), typed_dict({"a": int}, total=False)),
    ("named tuples", Place, tuple[int]),
    ("classes of one form", Row, OtherRow),
]
SAME: list[tuple[str, Any, Any]] = [
    ("unions", Union[int, str], str | int),  # noqa: UP007  both spellings
    ("None", Optional[int], None | int),  # noqa: UP045
    ("constraints", Annotated[int, msgspec.Meta(gt=0)], int),
    ("new types", ProductId, int),
    ("literals' order", Literal["a", "b"], Literal["b", "a"]),
    ("equal classes", a_dataclass(a=int), a_dataclass(a=int)),
    ("defaults", a_dataclass(a=int), make_dataclass("Product", [("a", int, field(default=1))])),
    ("order of keys", typed_dict({"a": int, "b": int}, total=True), typed_dict({"b": int, "a": int}, total=True)),
    ("private modules", Path, type("Path", (), {"__module__": "pathlib._local"})),
    ("undefined names", "Product", ForwardRef("Product")),
]


@pytest.mark.parametrize(("one", "two"), [case[1:] for case in DIFFERENT], ids=[case[0] for case in DIFFERENT])
def test_what_counts(one: Any, two: Any) -> None:
    """A schema whose values would be written in another form has another fingerprint."""
    assert fingerprint(one) != fingerprint(two)


@pytest.mark.parametrize(("one", "two"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_what_does_not_count(one: Any, two: Any) -> None:
    """Spellings, constraints and defaults leave the fingerprint as it is."""
    assert fingerprint(one) == fingerprint(two)


def test_types_of_any_shape() -> None:
    """A fingerprint has 12 hexadecimal digits, also of recursive, generic and unknown types, and tells them apart."""
    unbound: Any = T
    shapes: list[Any] = [
        Node,
        list[Node],
        Box,
        Any,
        None,
        object,
        UUID,
        unbound,
        "Missing",
        bytes,
        type,
        Sequence[Node],
    ]
    prints = [fingerprint(shape) for shape in shapes]
    assert all(len(text) == 12 and int(text, 16) >= 0 for text in prints)
    assert len(set(prints)) == len(shapes) - 1  # an unbound type variable is Any


def test_others_count() -> None:
    """The user's version is part of the fingerprint."""
    assert fingerprint(int, "1") != fingerprint(int, "2")


def test_fingerprints_do_not_change_with_versions() -> None:
    """These are the same in every version of Python and of hasten; what is stored under them is found again."""
    assert fingerprint(list[Node] | None) == "77edb5462249"
    assert fingerprint(Box[int]) == "10d5ca011880"
    assert fingerprint(dict[str, Row]) == "f6fb4b78d5f9"

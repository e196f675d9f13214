"""Codecs: a value comes back as it was, or is refused."""

import contextlib
import dataclasses
import datetime
import enum
import inspect
import math
import subprocess
import sys
import uuid
from collections import OrderedDict, deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
import typing_extensions
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hasten import ConfigurationError, MissingDependency
from hasten.cache import _zstd
from hasten.cache._codec import Codec, CodecError, codec_for

T = TypeVar("T")
KEY = b"0123456789abcdef"
BERLIN = datetime.timezone(datetime.timedelta(hours=2))
NOON = datetime.datetime(2024, 5, 1, 12, 0, 0, 5, BERLIN)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Text(enum.StrEnum):
    A = "a"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Animal:
    name: str
    weight: float = 1.0


@dataclasses.dataclass
class Dog(Animal):
    tricks: tuple[str, ...] = ()


@dataclasses.dataclass
class Box(Generic[T]):
    inside: T
    next: "Box[T] | None" = None


@dataclasses.dataclass
class Loose:
    anything: Any


@dataclasses.dataclass
class Growing:
    size: int

    def __post_init__(self) -> None:
        self.size += 1


@dataclasses.dataclass
class Checked:
    size: int

    def __post_init__(self) -> None:
        assert self.size > 0


class Point(msgspec.Struct, frozen=True, tag=True, rename="camel", omit_defaults=True):
    left_side: int
    at: datetime.datetime | None = None


class Circle(msgspec.Struct, frozen=True, tag=True):
    radius: float


class Pair(NamedTuple):
    first: int
    second: str


class Row(TypedDict):
    id: int
    note: NotRequired[str]


class Model(pydantic.BaseModel):
    id: int
    at: datetime.datetime
    price: Decimal = Decimal(1)
    parts: tuple[int, ...] = ()


class SubModel(Model):
    more: str


class Aliased(pydantic.BaseModel):
    long_name: int = pydantic.Field(alias="n")


class Shouting(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def louder(cls, text: str) -> str:
        return text + "!"


class Hiding(pydantic.BaseModel):
    secret: str = pydantic.Field(default="", exclude=True)


class Wrapping(typing_extensions.TypedDict):
    model: Model


GOOD: list[tuple[Any, Any]] = [
    (None, None),
    (bool, True),
    (int, -(2**63)),
    (int, 2**64 - 1),
    (float, 1.0),
    (float, -math.inf),
    (str, "žluťoučký"),
    (bytes, b"\0\xff"),
    (bytearray, bytearray(b"\0\xff")),
    (Decimal, Decimal("-0E-7")),
    (uuid.UUID, uuid.UUID(int=7)),
    (datetime.datetime, NOON),
    (datetime.datetime, NOON.replace(tzinfo=None)),
    (datetime.date, NOON.date()),
    (datetime.time, NOON.timetz()),
    (datetime.timedelta, datetime.timedelta(days=-5, microseconds=7)),
    (Colour, Colour.RED),
    (Level, Level.HIGH),
    (Rights, Rights.READ | Rights.WRITE),
    (Literal["a", 1], 1),
    (list[int], [1, 2]),
    (set[str], {"a", "b"}),
    (frozenset[int], frozenset({1})),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "a")),
    (tuple[()], ()),
    (dict[str, int], {"a": 1}),
    (dict[tuple[int, int], set[int]], {(1, 2): {3}}),
    (dict[datetime.datetime, Colour], {NOON: Colour.BLUE}),
    (list[list[tuple[int, ...]]], [[(1,)], [()]]),
    (Animal, Animal("cat", 4.0)),
    (Box[int], Box(1, Box(2))),
    (list[Box[datetime.datetime]], [Box(NOON)]),
    (Point, Point(3, NOON)),
    (Point | Circle, Circle(2.0)),
    (Pair, Pair(1, "a")),
    (Row, {"id": 1}),
    (Row, {"id": 1, "note": "x"}),
    (Checked, Checked(1)),
    (Loose, Loose({"a": [1, None]})),
    (dict[str, Any], {"a": {"b": [1, 1.0, True, None, "x", b"y"]}}),
    (list, [1, "a"]),
    (tuple, (1, "a")),
    (Any, {"a": [1, 1.0, True, None]}),
    (object, [1]),
    (inspect.Parameter.empty, {"a": [{}]}),
    (int | float, 1),
    (int | float, 1.0),
    (bool | int, True),
    (bool | int, 1),
    (Animal | None, None),
    (Animal | None, Animal("cat")),
    (float | Decimal, Decimal(1)),
    (float | Decimal, 1.0),
    (Model, Model(id=1, at=NOON, parts=(1, 2))),
    (list[Model], [Model(id=1, at=NOON)]),
    (dict[str, Model | None], {"a": None, "b": Model(id=1, at=NOON)}),
    (Wrapping, {"model": Model(id=1, at=NOON)}),
    (Box[Model], Box(Model(id=1, at=NOON))),
    (Aliased, Aliased(n=7)),
]

CHANGED: list[tuple[Any, Any]] = [
    (int, True),
    (int, Level.LOW),
    (int, 2**64),
    (float, 1),
    (bool, 1),
    (str, Text.A),
    (str, "\ud800"),
    (bytes, bytearray(b"x")),
    (datetime.date, NOON),
    (datetime.datetime, NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=7)))),
    (datetime.time, datetime.time(1, tzinfo=datetime.timezone(datetime.timedelta(seconds=7)))),
    (Literal["a", 1], True),
    (list[int], (1, 2)),
    (list[int], [1, 2.0]),
    (list[float], [1.0, 2]),
    (Sequence[int], (1, 2)),
    (set[int], frozenset({1})),
    (tuple[int, int], (1, 2, 3)),
    (tuple[int, int], Pair(1, "a")),
    (dict[str, int], OrderedDict(a=1)),
    (dict[str, int], {"a": True}),
    (dict[str, float], {"a": 1}),
    (Animal, Dog("rex")),
    (Animal, Animal("rex", 4)),
    (list[Animal], [Dog("rex")]),
    (Growing, Growing(1)),
    (Box[int], Box[Any](inside=True)),
    (Row, {"id": 1, "else": 2}),
    (int | float, True),
    (Animal | None, Dog("rex")),
    (Loose, Loose((1, 2))),
    (Any, (1, 2)),
    (Any, [{1}]),
    (Any, {1: 2}),
    (Any, {"a": NOON}),
    (Any, {"a": [Colour.RED]}),
    (Any, Animal("cat")),
    (list[Any], [(1,)]),
    (inspect.Parameter.empty, Decimal(1)),
    (Model, SubModel(id=1, at=NOON, more="x")),
    (list[Model], (Model(id=1, at=NOON),)),
    (Shouting, Shouting(text="x")),
    (Hiding, Hiding(secret="x")),
]


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal in all their parts, and of the same types there."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, pydantic.BaseModel):
        return bool(left == right and left.model_dump_json() == right.model_dump_json())
    if isinstance(left, set | frozenset):
        return sorted(map(repr, left)) == sorted(map(repr, right))
    if isinstance(left, datetime.datetime | datetime.time):
        return bool(left.isoformat() == right.isoformat())
    if dataclasses.is_dataclass(left) or isinstance(left, msgspec.Struct):
        names: Any = left.__dataclass_fields__ if dataclasses.is_dataclass(left) else left.__struct_fields__
        return all(same(getattr(left, name), getattr(right, name)) for name in names)
    return repr(left) == repr(right)


@pytest.mark.parametrize(("annotation", "value"), GOOD, ids=str)
def test_round_trip(annotation: Any, value: Any) -> None:
    """A value that its annotation fits comes back equal and of the same types, in all its parts."""
    codec = codec_for(annotation)
    assert same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize(("annotation", "value"), CHANGED, ids=str)
def test_never_changed(annotation: Any, value: Any) -> None:
    """A value that would come back as another one is not encoded."""
    with pytest.raises(CodecError):
        codec_for(annotation).encode(value)


@pytest.mark.parametrize("first", range(len(GOOD)), ids=lambda index: str(GOOD[index][0]))
def test_unions(first: int) -> None:
    """A union with any other annotation is refused, or gives back the values of both, or refuses to encode them."""
    for second in range(first):
        members = GOOD[first], GOOD[second]
        try:
            codec = codec_for(members[0][0] | members[1][0])
        except (TypeError, ConfigurationError):
            continue
        for _, value in members:
            with contextlib.suppress(CodecError):
                assert same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize(
    "annotation",
    [
        complex,
        deque[int],
        OrderedDict[str, int],
        type,
        list[complex],
        dict[str, deque[int]],
        bytes | bytearray,
        str | datetime.datetime,
        Animal | Dog,
        list[int] | set[int],
        "Nowhere",
        memoryview,
        enum.Enum("Odd", {"A": (1, 2)}),
    ],
    ids=str,
)
def test_refused(annotation: Any) -> None:
    """An annotation whose values cannot be restored is refused when the codec is made, with what to do."""
    with pytest.raises(ConfigurationError, match="annotate builtin containers"):
        codec_for(annotation)


def test_says_what_to_annotate() -> None:
    """What has no annotation and is not plain is refused with the word that it must be annotated."""
    with pytest.raises(CodecError, match="Animal where nothing or Any is annotated: annotate the type"):
        codec_for(Any).encode({"pets": [Animal("cat")]})


def test_zone_becomes_offset() -> None:
    """A named time zone comes back as its offset: the same moment, and the same time on the clock."""
    codec = codec_for(datetime.datetime)
    value = NOON.replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert codec.decode(codec.encode(value)).isoformat() == value.isoformat()


def test_not_a_number() -> None:
    """NaN comes back."""
    codec = codec_for(list[float])
    assert math.isnan(codec.decode(codec.encode([math.nan]))[0])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(PLAIN)
def test_plain(value: Any) -> None:
    """What JSON has comes back without an annotation."""
    codec = codec_for(Any)
    assert same(codec.decode(codec.encode(value)), value)


@given(st.data())
def test_typed(data: st.DataObject) -> None:
    """Any value of a type, nested in others, comes back."""
    kinds = st.sampled_from(
        [int, bool, str, bytes, datetime.date, datetime.timedelta, Decimal, uuid.UUID, Colour, Rights]
    )
    inner: Any = data.draw(kinds)
    annotation: Any = data.draw(st.sampled_from([list[inner], tuple[inner, ...], dict[str, inner]]))
    value = data.draw(st.from_type(annotation))
    codec = codec_for(annotation)
    try:
        encoded = codec.encode(value)
    except CodecError:
        return  # an int beyond 64 bits, a lone surrogate
    assert same(codec.decode(encoded), value)


@given(st.binary(max_size=200))
@pytest.mark.parametrize("annotation", [int, list[Animal], Any, Model, Point | Circle, dict[str, datetime.datetime]])
def test_hostile(annotation: Any, data: bytes) -> None:
    """Bytes that no codec has made give a value of the type, or CodecError, and nothing else."""
    for codec in (codec_for(annotation), codec_for(annotation, pickle_key=KEY)):
        for kind in (b"", b"m", b"M", b"j", b"p", b"P"):
            try:
                codec.decode(kind + data)
            except CodecError:
                continue


@pytest.mark.parametrize("writer", [codec_for(bytes), codec_for(str), codec_for(Model), codec_for(str, pickle_key=KEY)])
@pytest.mark.parametrize("reader", [codec_for(bytes), codec_for(str), codec_for(Model), codec_for(str, pickle_key=KEY)])
def test_other_kind(writer: Codec[Any], reader: Codec[Any]) -> None:
    """What a codec of another kind has made is not read."""
    if writer is reader:
        return
    value: Any = {b"b": b"x", b"j": Model(id=1, at=NOON)}.get(getattr(writer, "_plain", b""), "x")
    if type(writer) is type(reader) and getattr(writer, "_plain", b"") == getattr(reader, "_plain", b""):
        return
    with pytest.raises(CodecError):
        reader.decode(writer.encode(value))


# ---- compression


def test_compressed_above() -> None:
    """What has more bytes than the threshold is compressed, what has fewer is not; both come back."""
    codec = codec_for(str, compress_above=1000)
    small, large = "a" * 900, "a" * 2000
    assert len(codec.encode(small)) > 900
    assert len(codec.encode(large)) < 100
    assert codec.decode(codec.encode(small)) == small
    assert codec.decode(codec.encode(large)) == large


def test_compression_is_read_without_it() -> None:
    """A process that compresses nothing reads what others have compressed, and the reverse."""
    plain, compressing = codec_for(bytes), codec_for(bytes, compress_above=10)
    value = b"a" * 100
    assert plain.decode(compressing.encode(value)) == value
    assert compressing.decode(plain.encode(value)) == value


def test_incompressible() -> None:
    """What compression would make larger stays as it is."""
    value = bytes(range(256))
    assert len(codec_for(bytes, compress_above=10).encode(value)) == 257


def test_decompression_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that claims to hold more than the bound, or does not say, is refused before anything is decompressed."""
    monkeypatch.setattr(_zstd, "MOST_BYTES", 10_000)
    codec = codec_for(bytes)
    bomb = zstandard.ZstdCompressor().compress(bytes(10_001))
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))
    for frame in (bomb, silent, bomb[: len(bomb) // 2], b""):
        with pytest.raises(CodecError):
            codec.decode(b"B" + frame)
    assert codec.decode(b"B" + zstandard.ZstdCompressor().compress(bytes(10_000))) == bytes(10_000)


WITHOUT = """
import sys
sys.modules["{module}"] = None
from hasten.cache._codec import CodecError, codec_for
try:
    {statement}
except Exception as error:
    print(type(error).__name__, error)
"""


def without(module: str, statement: str) -> str:
    """Return what a statement raises in a Python that does not have a module."""
    code = WITHOUT.format(module=module, statement=statement)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_zstandard_is_missing() -> None:
    """Without zstandard compression is refused when it is asked for, and what others compressed is not read."""
    asked = without("zstandard", "codec_for(str, compress_above=10)")
    assert asked.strip() == f"MissingDependency {MissingDependency('zstandard', 'zstd')}"
    frame = zstandard.ZstdCompressor().compress(b"x")
    assert without("zstandard", f"codec_for(bytes).decode({b'B' + frame!r})").startswith("CodecError compressed by")


def test_pydantic_is_not_imported() -> None:
    """Codecs without models import neither pydantic nor zstandard."""
    code = "import sys; from hasten.cache._codec import codec_for; codec_for(list[int]); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "zstandard"} & set(loaded)

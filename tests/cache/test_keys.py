"""Keys of arguments, in memory and as text."""

import ast
import enum
import itertools
import json
import math
import os
import re
import struct
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr

from hasten._core.errors import ConfigurationError
from hasten.cache._keys import TextKeys, key_of, text_key


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    ONE = "1"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Address(str):
    """Holds something beside its value."""


class Slotted(str):
    __slots__ = ("host",)


class Items(list[int]):
    pass


class Pair(NamedTuple):
    one: int
    two: int


@dataclass
class Query:
    text: str
    limit: int = 10
    seen: int = field(default=0, compare=False)


@dataclass
class OtherQuery:
    text: str
    limit: int = 10


class Point(msgspec.Struct):
    x: int
    y: float


@attrs.define
class Size:
    width: int
    note: str = attrs.field(default="", eq=False)


class Filter(BaseModel):
    name: str
    tags: list[str] = []
    _source: str = PrivateAttr(default="")

    @cached_property
    def length(self) -> int:
        return len(self.name)


class OpenFilter(BaseModel, extra="allow"):
    name: str


class Tenant:
    def __init__(self, number: int) -> None:
        self.number = number
        self.session = object()

    def __cache_key__(self) -> object:
        return self.number


class Nameless:
    pass


def with_source(name: str, source: str) -> Filter:
    made = Filter(name=name)
    made._source = source
    return made


def measured(name: str) -> Filter:
    made = Filter(name=name)
    assert made.length == 1  # is kept in the object
    return made


def address(text: str, host: str) -> Address:
    made = Address(text)
    made.host = host  # type: ignore[attr-defined]
    return made


BERLIN, PARIS = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/Paris")
NOON = datetime(2024, 5, 1, 12, tzinfo=BERLIN)

DIFFERENT: list[Any] = [
    *(1, 1.0, True, "1", b"1", 1 + 0j, bytearray(b"1"), Decimal(1), Fraction(1), Number(1), Level.LOW, Colour.RED),
    *(0, 0.0, -0.0, False, None, "", b"", (), [], {}, set(), frozenset(), "None", "False", range(0)),
    *(math.nan, math.inf, -math.inf, "nan", Decimal("NaN"), Decimal("-NaN"), Decimal("sNaN")),
    *(Decimal("1.0"), Decimal("1.00"), Decimal("1E+3"), Decimal(1000)),
    *(Text("1"), Name.ONE, address("1", "a"), address("1", "b"), Address("1")),
    *(2, Colour.BLUE, Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE, Rights(0)),
    *((1, 2), [1, 2], {1, 2}, frozenset({1, 2}), {1: 2}, Pair(1, 2), Items([1, 2]), range(1, 2), ((1, 2),), (1, (2,))),
    *((1.0, 2), (True, 2), ["1", 2], ("bool", 1), ("tuple", 1), ("bytes", b"1"), ("dict", (1, 2)), ("float", "0x1p+0")),
    *(OrderedDict([(1, 1), (2, 2)]), OrderedDict([(2, 2), (1, 1)]), {1: 1, 2: 2}, defaultdict(int, {1: 1, 2: 2})),
    *({"a": 1}, {"a": True}, {"a": None}, [("a", 1)], Counter("a")),
    *({math.nan}, {math.nan, float("nan")}, [math.nan]),
    *(datetime(2024, 5, 1), date(2024, 5, 1), "2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
    *(NOON, NOON.astimezone(PARIS), NOON.astimezone(UTC), NOON.astimezone(timezone(timedelta(hours=2)))),
    *(datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN), datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)),
    *(time(12), time(12, tzinfo=UTC), timedelta(days=1), timedelta(seconds=1)),
    *(UUID(int=1), UUID(int=2), str(UUID(int=1)), Path("a"), PurePosixPath("a"), Path("a/b"), "a"),
    *(Query("a"), Query("b"), OtherQuery("a"), Query(Text("a")), ["a", 10]),
    *(Point(1, 2.0), Point(1, 2), Size(1), Size(2)),
    *(Filter(name="a"), Filter(name="a", tags=["b"]), with_source("a", "web"), OpenFilter(name="a")),
    *(OpenFilter(name="a", b=1), OpenFilter(name="a", b=2)),  # type: ignore[call-arg]
    *(Tenant(1), Tenant(2), Tenant, Query, int, str, "int"),
    *(10**5000, 10**5000 + 1, [10**5000], [[10**5000]]),
]


def test_types_and_values_are_told_apart() -> None:
    """No two of many values that Python takes for equal, or writes alike, have the same key or the same text."""
    keys = [key_of(value, "f(x)") for value in DIFFERENT]
    texts = [text_key("app", "f", "1", key) for key in keys]
    for (one, first), (two, second) in itertools.combinations(enumerate(keys), 2):
        assert first != second, (DIFFERENT[one], DIFFERENT[two])
    assert len(set(texts)) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({3, 1, 2}, {2, 3, 1}),
        ({"b": 2, "a": 1}, {"a": 1, "b": 2}),
        ({1: "x", "1": "y", None: []}, {None: [], "1": "y", 1: "x"}),
        (math.nan, struct.unpack("d", b"\x01\0\0\0\0\0\xf8\xff")[0]),
        (Path("a/./b"), Path("a/b")),
        (Query("a", seen=1), Query("a", seen=2)),
        (Size(1, note="one"), Size(1, note="two")),
        (Tenant(1), Tenant(1)),
        (Filter(name="a"), Filter(name="a", tags=[])),
        (Filter(name="a"), measured("a")),
        (datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=ZoneInfo("UTC"))),
    ],
)
def test_what_counts_as_the_same(one: object, two: object) -> None:
    """The order of sets and dicts, what is not compared, and the bits of a NaN make no other key."""
    assert key_of(one, "f(x)") == key_of(two, "f(x)")


def test_an_object_says_its_key() -> None:
    """What `__cache_key__` returns is the key, whatever else the object holds, and goes with its class."""
    assert key_of(Tenant(1), "f(x)") != key_of(1, "f(x)")
    assert key_of([Tenant(1)], "f(x)") == key_of([Tenant(1)], "f(x)")


def generator() -> Any:
    yield 1


@dataclass
class Holder:
    query: Query
    held: object


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Nameless(),
        len,
        generator,
        generator(),
        partial(int, "1"),
        lambda: 1,
        iter([]),
        memoryview(b"1"),
        Slotted("a"),
        [1, {"a": (object(),)}],
        {object(): 1},
        Holder(Query("a"), object()),
        address("a", object()),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_value_is_refused(value: object) -> None:
    """An argument that says nothing stable about itself is refused by its name, with what to do instead."""
    with pytest.raises(
        ConfigurationError, match=r"^load\(session\): an instance of .* has no stable value .* give key="
    ):
        key_of(value, "load(session)")


def test_what_contains_itself_is_refused() -> None:
    """A list that contains itself is refused, as is one that is nested too deeply."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        key_of(endless, "load(items)")


def test_a_class_is_named_in_a_refusal() -> None:
    """The refusal names the class of the part that has no value."""
    with pytest.raises(ConfigurationError, match=r"Nameless has no stable value"):
        key_of([Nameless()], "load(x)")


# ---- any values

PLAIN: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan, -math.nan, math.inf]),
    st.floats(),
    st.sampled_from(["", "1", "True", "bool", "tuple", "a b", "é", "\ud800", "'", '"', "\n"]),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from([Colour.RED, Level.LOW, Name.ONE, Number(1), Text("1"), Decimal("1.0"), Decimal("1.00")]),
    st.uuids(),
    st.datetimes(timezones=st.sampled_from([None, UTC, BERLIN])),
)
HASHABLE: st.SearchStrategy[Any] = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(HASHABLE, max_size=3),
        st.frozensets(HASHABLE, max_size=3),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.builds(Query, inner, inner),
    ),
    max_leaves=6,
)


def alike(one: Any, two: Any) -> bool:
    """Say by comparing, without keys, whether two of VALUES are the same in type and value."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return float.hex(one) == float.hex(two)
    if isinstance(one, Decimal):
        return str(one) == str(two)
    if isinstance(one, datetime):
        return str(one) == str(two) and one.fold == two.fold and one.tzinfo is two.tzinfo
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, set | frozenset):
        return _permuted(list(one), list(two))
    if isinstance(one, dict):
        return _permuted(list(one.items()), list(two.items()))
    if isinstance(one, Query):
        return alike(one.text, two.text) and alike(one.limit, two.limit)
    return bool(one == two)


def _permuted(one: list[Any], two: list[Any]) -> bool:
    left = list(two)
    for item in one:
        match = next((index for index, other in enumerate(left) if alike(item, other)), None)
        if match is None:
            return False
        del left[match]
    return not left


@given(VALUES, VALUES)
def test_keys_texts_and_values_agree(one: Any, two: Any) -> None:
    """Two values have the same key exactly when they are alike in type and value, and the same text exactly then."""
    first, second = key_of(one, "f(x)"), key_of(two, "f(x)")
    assert (first == second) == alike(one, two)
    texts = TextKeys("app", "f", "1")
    assert (texts(first) == texts(second)) == alike(one, two)


@given(VALUES)
def test_keys_are_hashable_literals(value: Any) -> None:
    """A key can be hashed, and consists of ints, texts, bytes, None and tuples, which Python's literals give back."""
    key = key_of(value, "f(x)")
    hash(key)
    assert ast.literal_eval(ascii(key)) == key
    assert key_of(_rebuilt(value), "f(x)") == key


def _rebuilt(value: Any) -> Any:
    """Return a value that is the same and shares no container with the first."""
    if isinstance(value, Query):
        return Query(_rebuilt(value.text), _rebuilt(value.limit))
    if type(value) in {list, tuple, set, frozenset}:
        return type(value)(reversed([_rebuilt(item) for item in value]) if isinstance(value, set) else list(value))
    return dict(reversed(list(value.items()))) if isinstance(value, dict) else value


# ---- text


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300), VALUES)
def test_the_form_of_texts(namespace: str, region: str, version: str, value: Any) -> None:
    """A text key has at most 200 printable ASCII characters, no space or brace among them, and ends in the digest."""
    text = text_key(namespace, region, version, key_of(value, "f(x)"))
    assert re.fullmatch(r"[!-z|~]{,200}", text)
    assert re.fullmatch(r"[0-9a-f]{40}", text.rpartition(":")[2])


def test_readable_texts() -> None:
    """People see the namespace, the region, the version and the beginning of the arguments."""
    key = (7, key_of(["de", None], "f(x)"))
    assert text_key("shop", "products.load", "1", key).startswith("shop:products.load:1:7_list_de_None:")
    assert text_key("shop", "products.load", "1", 7).startswith("shop:products.load:1:7:")


@pytest.mark.parametrize("part", range(3))
def test_each_part_counts_uncut(part: int) -> None:
    """Names that are cut in what people see are told apart by the digest."""
    one, two = ["a" * 300] * 3, ["a" * 300] * 3
    two[part] += "b"
    assert text_key(one[0], one[1], one[2], 7) != text_key(two[0], two[1], two[2], 7)


def test_moved_borders_are_other_texts() -> None:
    """What stands in the namespace is not taken for a part of the region."""
    assert text_key("a", "b:c", "1", 7) != text_key("a:b", "c", "1", 7)


STABLE: dict[str, Callable[[], Any]] = {
    "int": lambda: 7,
    "str": lambda: "é 1",
    "mixed": lambda: (1, 1.5, True, None, b"\xff", -0.0),
    "dict": lambda: {"b": {3, 1, 2}, "a": [frozenset({"x", "y", "z"})]},
    "query": lambda: Query("a", 3),
    "colour": lambda: [Colour.RED, Rights.READ | Rights.WRITE],
    "moment": lambda: NOON,
    "decimal": lambda: Decimal("1E+5"),
    "uuid": lambda: UUID(int=5),
    "path": lambda: Path("/srv/x"),
}


def texts_of_stable() -> dict[str, str]:
    return {name: text_key("app", "f", "1", key_of(make(), "f(x)")) for name, make in STABLE.items()}


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_every_process_makes_the_same_texts(seed: str) -> None:
    """Processes with other hash seeds make the same texts of sets, dicts, enums and all others."""
    code = "import json; from tests.cache.test_keys import texts_of_stable; print(json.dumps(texts_of_stable()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == texts_of_stable()


def test_texts_do_not_change_with_versions() -> None:
    """These texts are the same in every version of Python and of hasten; what is stored under them is found again."""
    texts = {name: text.rpartition(":")[2] for name, text in texts_of_stable().items()}
    assert texts["int"] == "ddc6f6105d4439c40e77ac1c26d4e2166e6be37b"
    assert texts["mixed"] == "2005debac793478215869c4f0dad77d26e4807cf"
    assert texts["dict"] == "befbd16e2c1d8c08c0e79e8f69f0b88cc2b6dc92"
    assert texts["decimal"] == "20a9ba38d4d223fd3a735534db0f542044f6752e"


def test_long_ints_have_texts() -> None:
    """An int of more digits than Python writes has a text all the same."""
    huge: Hashable = 10**5000
    assert text_key("app", "f", "1", huge) != text_key("app", "f", "1", -(10**5000))

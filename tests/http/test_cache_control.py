"""Reading Cache-Control, whatever stands in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.http._cache_control import MOST_SECONDS, parse_cache_control

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
QUOTED = st.text(st.characters(codec="latin-1", exclude_characters='"\\'), max_size=20)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"max-age=60", 60),
        (b"Max-Age=60", 60),
        (b'max-age="60"', 60),
        (b"max-age = 60", 60),
        (b"public,max-age=60,x", 60),
        (b"max-age=060", 60),
        (b"max-age=2147483649", MOST_SECONDS),
        (b"max-age=" + b"9" * 10_000, MOST_SECONDS),
        (b"max-age", 0),
        (b"max-age=", 0),
        (b"max-age=-1", 0),
        (b"max-age=+1", 0),
        (b"max-age=1.5", 0),
        (b"max-age=1e3", 0),
        (b"max-age=6_0", 0),
        ("max-age=\u00b2".encode("latin-1"), 0),
        (b"max-age=60, max-age=61", 0),
        (b"max-age=60, max-age=60", 60),
        (b"x-max-age=60", None),
        (b'x="max-age=60"', None),
        (b"", None),
    ],
)
def test_seconds(line: bytes, seconds: int | None) -> None:
    """A time is a whole number of seconds, the one that is given; anything else is 0."""
    assert parse_cache_control([line]).seconds("max-age") == seconds


@pytest.mark.parametrize(
    "line", [b'x="a, public', b"max-age=60; public", b'max-age="60', b'x=a"b"', b'x="a\\', b"=", b'"', b"a b"]
)
def test_what_cannot_be_read_is_not_stored(line: bytes) -> None:
    """A line that is broken says no-store, and nothing that stands behind the break."""
    directives = parse_cache_control([line])
    assert "no-store" in directives
    assert "public" not in directives


def test_fields_of_a_directive() -> None:
    """A list of fields is read from its quotes, in lower case, and does not make the directive about everything."""
    directives = parse_cache_control([b'private="X-User, x-\\Session ,,"', b"no-cache=set-cookie, no-cache"])
    assert directives.fields("private") == {b"x-user", b"x-session"}
    assert not directives.bare("private")
    assert directives.fields("no-cache") == {b"set-cookie"}
    assert directives.bare("no-cache")


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_never_an_error(lines: list[bytes]) -> None:
    """Any bytes are read without an error, and a time is from 0 to its bound."""
    directives = parse_cache_control(lines)
    for name in ("max-age", "s-maxage", "no-store"):
        assert 0 <= (directives.seconds(name) or 0) <= MOST_SECONDS
        assert directives.bare(name) <= (name in directives)
        directives.fields(name)


@given(st.lists(st.tuples(TOKENS, st.none() | TOKENS | QUOTED.map(lambda text: f'"{text}"')), min_size=1, max_size=8))
def test_written_and_read(members: list[tuple[str, str | None]]) -> None:
    """What is written by the grammar is read as it was meant, in one line or in many."""
    written = [name if value is None else f"{name}={value}" for name, value in members]
    one = parse_cache_control([", ".join(written).encode("latin-1")])
    many = parse_cache_control([member.encode("latin-1") for member in written])
    for directives in (one, many):
        assert all(name in directives for name, _ in members)
        assert "no-store" not in directives or "no-store" in dict(members)
        for name in dict(members):
            values = [value for key, value in members if key == name]
            assert directives.bare(name) == any(value is None or value == '""' for value in values)


@given(st.binary(max_size=60), st.sampled_from([b"no-store", b"private"]), st.binary(max_size=60))
def test_a_prohibition_among_rubbish(before: bytes, word: bytes, after: bytes) -> None:
    """A prohibition between commas is seen unless it stands in quotes that are closed."""
    directives = parse_cache_control([before.replace(b'"', b"") + b"," + word + b"," + after])
    assert word.decode() in directives or "no-store" in directives


@pytest.mark.parametrize("part", [b"a= ", b" ", b",", b'a="', b"\\", b'"\\', b"a=", b"a,", b"=", b'a="\\"'])
def test_long_lines_take_linear_time(part: bytes) -> None:
    """A megabyte of anything is read at once: a test's time limit is its bound."""
    parse_cache_control([part * (1_000_000 // len(part)) + b'"x'])

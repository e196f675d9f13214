"""Whatever a service says of what may be kept, a cache stays within its bounds, and what it sends is well-formed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.http._cache_control import MOST_SECONDS
from hasten.http._freshness import Head, private_life
from hasten.http.client import PrivateCache
from hasten.http.client._kept import Asked, Kept, as_lines, as_pairs, kept_response
from tests.http.site import NOON

_VALUES = st.one_of(
    st.binary(max_size=40).map(lambda value: re.sub(rb"[\r\n\0]", b"", value).strip()),
    st.sampled_from(
        [
            b"", b"max-age=60", b"max-age=99999999999999999999999", b"max-age=-1", b"public", b"private", b"no-store",
            b"no-cache", b'no-cache="etag, ,age"', b"must-revalidate", b"stale-while-revalidate=10, max-age=1",
            b"stale-if-error=5, max-age=0", b"max-stale", b"min-fresh=4", b"only-if-cached", b"*", b"x-a", b"x-a, x-b",
            b'"v1"', b'W/"v1"', b"W/", b'"', b"Tue, 14 Nov 2023 22:13:20 GMT", b"Tue, 31 Feb 2023 22:13:20 GMT", b"0",
            b"99999999999999999999999", b"keep-alive, date",
        ]
    ),
)  # fmt: skip
_NAMES = st.sampled_from(
    [b"Cache-Control", b"etag", b"ETag", b"last-modified", b"vary", b"expires", b"date", b"age", b"connection", b"x-a",
     b"set-cookie", b"content-length", b"pragma", b"authorization"]
)  # fmt: skip
_HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=8)
_STATUSES = st.sampled_from([200, 203, 204, 206, 299, 301, 304, 404, 500, 503])
_CONDITION = re.compile(rb'(if-none-match: (W/)?"[^"\s\x00-\x1f]*"\r\n)?(if-modified-since: [A-Za-z0-9 ,:-]+\r\n)?')


@given(_STATUSES, _HEADERS, _HEADERS, _HEADERS, st.floats(0.0, 1e12))
def test_any_fields(status: int, headers: list, again: list, asked: list, passed: float) -> None:  # type: ignore[type-arg]
    """What is kept is not served longer than the longest time there is, and is asked for by well-formed fields."""
    asking = Asked(asked)
    kept = kept_response(Head(status, headers), b"body", "host", asking, born=NOON, now=NOON)
    if kept is None:
        return
    assert _CONDITION.fullmatch(kept.condition)
    assert as_lines(as_pairs(kept.lines)) == kept.lines
    assert not {name for name, _ in as_pairs(kept.lines)} & {b"age", b"connection", b"set-cookie"}
    assert 0.0 <= kept.lifetime <= max(MOST_SECONDS, 3e11)
    if passed >= kept.lifetime + kept.stale:
        assert not kept.serves(asking, passed) or "max-stale" in asking.directives
    answer = Head(304, again)
    if kept.holds(answer):
        head = kept.renewed(answer)
        renewed = Kept(head, private_life(head, NOON), b"body", "host", asking, born=NOON)
        assert renewed.status == status
        assert _CONDITION.fullmatch(renewed.condition)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.sampled_from(["put", "find", "drop", "none"]), _HEADERS, st.integers(0, 3000)
        ),
        max_size=30,
    )
)
def test_any_history(steps: list) -> None:  # type: ignore[type-arg]
    """Whatever is kept, found and dropped, the sizes add up, and are within the bounds; what is found fits."""
    cache = PrivateCache(max_bytes=6000, max_entries=3, clock=lambda: NOON)
    for url, step, headers, size in steps:
        asked = Asked(headers)
        if step == "put":
            head = Head(200, [(b"cache-control", b"max-age=60"), *headers])
            kept = Kept(head, private_life(head, NOON), b"x" * size, "host", asked, born=NOON)
            cache.put(url, asked, kept)
        elif step == "find":
            found = cache.find(url, asked)
            assert found is None or found.is_for(asked)
        elif step == "drop":
            cache.drop(url)
            assert cache.find(url, asked) is None
        else:
            cache.put(url, asked, None)
            assert cache.find(url, asked) is None
        statistics = cache.statistics()
        every = cache._entries.items()
        assert statistics.size_bytes == sum(len(one) + sum(kept.size_bytes for kept in entry) for one, entry in every)
        assert statistics.size_bytes <= 6000
        assert len(cache._entries) <= 3


@pytest.mark.parametrize("line", [b"", b"a", b":", b"a:", b"a:  b ", b"a: b: c"])
def test_lines(line: bytes) -> None:
    """Lines are parted at the first colon, and their values have no blanks around them."""
    assert [len(pair) for pair in as_pairs(b"\r\n" + line)] == [2] * bool(line)
    assert all(value == value.strip() for _, value in as_pairs(b"\r\n" + line))

"""Dates, entity tags and other values of header fields."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.http._conditions import not_modified_since, strong_tag, tag_matches
from hasten.http._fields import http_date, whole_seconds


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        " Sun Nov 06 08:49:37 1994 ",
    ],
)
def test_forms_of_dates(text: str) -> None:
    """All three forms of a date are the same moment (RFC 9110 section 5.6.7)."""
    assert http_date(text.encode()) == 784111777.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nix 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "\u00b2un, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_date(text: str) -> None:
    """Anything else is no date, and no error."""
    assert http_date(text.encode("latin-1")) is None


@given(st.integers(0, 4_000_000_000))
def test_dates_written_and_read(moment: int) -> None:
    """A date is read as it was written, to the second."""
    assert http_date(formatdate(moment, usegmt=True).encode()) == moment


@given(st.binary(max_size=60))
def test_any_bytes_are_no_error(value: bytes) -> None:
    """Any bytes are read without an error."""
    http_date(value)
    assert (whole_seconds(value) or 0) >= 0
    tag_matches([value], b'"v"')
    tag_matches([b'"v"'], value)
    not_modified_since(value, value)


TAG = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), max_size=8).map(lambda text: f'"{text}"'.encode())


@given(st.lists(st.tuples(TAG, st.booleans()), min_size=1, max_size=5), TAG)
def test_tags_in_lists(tags: list[tuple[bytes, bool]], etag: bytes) -> None:
    """A tag matches a list that has it, weak or strong, and no other list."""
    line = b" , ".join(b"W/" + tag if weak else tag for tag, weak in tags)
    expected = etag in dict(tags)
    assert tag_matches([line], etag) == expected
    assert tag_matches([line], b"W/" + etag) == expected
    assert tag_matches([b'"other-line"', line], etag) >= expected


def test_tags_without_one() -> None:
    """Without a tag of ours only `*` matches."""
    assert tag_matches([b"*"], None)
    assert not tag_matches([b'"*"', b'""'], None)


def test_a_made_tag_tells_urls_apart() -> None:
    """A made tag depends on the body and on what it is the body of, however the two are cut."""
    tags = {
        strong_tag(b"/a", b"body"),
        strong_tag(b"/b", b"body"),
        strong_tag(b"/a", b"body2"),
        strong_tag(b"/ab", b"ody"),
    }
    assert len(tags) == 4

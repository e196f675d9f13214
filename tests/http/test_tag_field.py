"""Reading tags from a response field: what each cache in the network takes, and what nobody should have sent."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.http._tag_field import MOST_TAGS, tags_in

TAGS = st.from_regex(r"[\x21-\x2b\x2d-\x7e]{1,200}", fullmatch=True)
BLANKS = st.text(" \t", max_size=3)
LINES = st.lists(
    st.one_of(st.binary(max_size=40), st.text(" \t,ab\x7f\xe4\x00", max_size=12).map(lambda text: text.encode())),
    max_size=4,
)


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        ([b"product:7"], ("product:7",)),
        ([b"product:7,product:8,news"], ("product:7", "product:8", "news")),
        ([b" product:7 ,\tproduct:8 "], ("product:7", "product:8")),
        ([b"tag1,,,tag2,"], ("tag1", "tag2")),
        ([b",tag1"], ("tag1",)),
        ([b"product:7 product:8  news"], ("product:7", "product:8", "news")),
        ([b"\tproduct:7\tproduct:8 "], ("product:7", "product:8")),
        ([b"a,b", b"c d", b"e"], ("a", "b", "c", "d", "e")),
        ([b"b,a", b"a b"], ("b", "a")),
        ([b"Tag,tag"], ("Tag", "tag")),
        ([b'{a};"b"=c<d>\\e'], ('{a};"b"=c<d>\\e',)),
        ([b"x" * 200], ("x" * 200,)),
        ([b""], ()),
        ([b" , ,"], ()),
        ([], ()),
        ([b"x" * 201], None),
        ([b"a, b c"], None),
        ([b"a,b\tc,d"], None),
        (["größe".encode()], None),
        (["größe".encode("latin-1")], None),
        ([b"a\x00b"], None),
        ([b"a\x7f"], None),
        ([b"a\rb"], None),
        ([b"good", b"bad\x01"], None),
    ],
)
def test_lines(lines: list[bytes], tags: tuple[str, ...] | None) -> None:
    """Commas or blanks separate tags; a field with anything that is none gives no tags at all."""
    assert tags_in(lines) == tags


def test_the_bound() -> None:
    """As many tags as fit are taken, each counted once however often it is there, and one more gives none."""
    many = [b"tag:%d" % number for number in range(MOST_TAGS)]
    assert len(tags_in([b",".join(many), b" ".join(many)]) or ()) == MOST_TAGS
    assert tags_in([b",".join(many), b"one-more"]) is None
    assert tags_in([b" ".join([*many, b"one-more"])]) is None


@given(st.lists(TAGS, max_size=8), BLANKS, BLANKS)
def test_what_an_app_names_is_what_is_read(tags: list[str], before: str, after: str) -> None:
    """A list of tags comes back as it was, whichever of the two ways it was written in."""
    wanted = tuple(dict.fromkeys(tags))
    assert tags_in([f"{before},{after}".join(tags).encode()]) == wanted
    assert tags_in([f"{before} {after}".join(tags).encode()]) == wanted
    assert tags_in([tag.encode() for tag in tags]) == wanted


@given(LINES)
def test_any_field_is_read(lines: list[bytes]) -> None:
    """Whatever is in a field, each part of it is a tag, or there are none."""
    tags = tags_in(lines)
    parts = {part for line in lines for part in re.split(rb"[ \t,]+", line) if part}
    if tags is None:
        assert any(
            re.search(rb"[^\x20-\x7e\t]", line) or (b"," in line and re.search(rb"[ \t]", line)) for line in lines
        )
    else:
        assert {tag.encode() for tag in tags} == parts
        assert all(tag.isascii() and tag.isprintable() and not re.search(r"[\s,]", tag) for tag in tags)

"""What the process knows of tags' versions."""

from hypothesis import given
from hypothesis import strategies as st

from hasten.cache._tags import TagTable


def test_versions_of_the_store() -> None:
    """Of two versions the later one counts, whichever is heard of first."""
    for order in ((5, 7), (7, 5)):
        table = TagTable()
        for version in order:
            table.learn("news", version)
        assert table.are_current((("news", 7),))
        assert not table.are_current((("news", 5),))


def test_renewed_tags() -> None:
    """A tag that is renewed has a version that it never had, and gives way to the store's."""
    table = TagTable()
    before = table.of(["news"])
    table.renew("news")
    assert not table.are_current(before)
    own = table.of(["news"])
    assert table.are_current(own)
    table.learn("news", 3)
    assert not table.are_current(own)
    assert table.are_current((("news", 3),))
    table.renew("news")
    assert not table.are_current((("news", 3),))


def test_no_tags_are_current() -> None:
    """What has no tags is never out of date."""
    assert TagTable().are_current(())
    assert TagTable().of([]) == ()


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["learn", "renew", "of"]), st.integers(1, 5))),
    st.integers(1, 6),
)
def test_a_bounded_table_forgets_on_the_safe_side(steps: list[tuple[str, str, int]], most: int) -> None:
    """Versions that a bounded table takes for current are those that an endless one does, as versions grow."""
    latest = dict.fromkeys("abcdef", 0)
    small, endless = TagTable(most), TagTable()
    given_out: dict[str, tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]] = {}
    for tag, step, number in steps:
        latest[tag] += number
        for table in (small, endless):
            if step == "learn":
                table.learn(tag, latest[tag])
            elif step == "renew":
                table.renew(tag)
        if step == "of":
            given_out[tag] = small.of([tag]), endless.of([tag])
        assert len(small) <= most
        for of_small, of_endless in given_out.values():
            assert not small.are_current(of_small) or endless.are_current(of_endless)

"""What is recorded of strays is bounded, counted, and fit for a log, whatever they are called and say."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hasten._core.signals import StrayKind
from hasten.concurrency._stray_records import Strays, in_one_line, is_library, place_of

KINDS: tuple[StrayKind, ...] = ("failed", "destroyed", "never-awaited", "unheld")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 30))), st.integers(1, 10))
def test_counts_add_up_and_sites_are_bounded(found: list[tuple[StrayKind, int]], most: int) -> None:
    """Whatever is found, each kind's count is right, and no more is kept than the bound, and `other` of each kind."""
    strays = Strays(most)
    for kind, number in found:
        strays.note(kind, f"app.py:{number} main", "work", "")
    counts, kinds = strays.statistics(), Counter(kind for kind, _ in found)
    assert (counts.failed, counts.destroyed, counts.never_awaited, counts.unheld) == tuple(
        kinds[each] for each in KINDS
    )
    kept = strays.all()
    assert len(kept) <= most + len(KINDS)
    assert sum(stray.count for stray in kept) == len(found)
    assert len({(stray.kind, stray.site) for stray in kept}) == len(kept)


@given(st.text())
def test_an_error_is_one_short_printable_line(text: str) -> None:
    """Newlines, terminal sequences and megabytes in an error's text do no harm in a log."""
    line = in_one_line(ValueError(text))
    assert line.startswith("ValueError: ")
    assert line.isprintable()
    assert len(line) <= 220


def test_an_error_without_text() -> None:
    """One whose text cannot be had, and none at all, are no failure."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert in_one_line(Broken()) == "Broken: ?"
    assert in_one_line(None) == ""


def test_places() -> None:
    """A place is relative to the directory, the definition's without an origin, and empty for what is no coroutine."""

    async def work() -> None:
        pass

    coroutine = work()
    line = work.__code__.co_firstlineno
    assert place_of(coroutine, __file__.removesuffix("test_stray_records.py")) == (
        __file__,
        f"test_stray_records.py:{line} work",
    )
    coroutine.close()
    assert place_of(object(), "") == ("", "")


def test_libraries() -> None:
    """Files of installed packages and of Python are not the app's."""
    for file in ("/v/lib/python3.11/site-packages/x/a.py", "/usr/lib/python3/dist-packages/a.py", "/std/asyncio/a.py"):
        assert is_library(file, ("/std",))
    assert is_library("<frozen runpy>", ())
    assert not is_library("/srv/app/a.py", ("/std",))

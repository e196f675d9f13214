"""What is done in a partition, against a simple model: two sets of offsets."""

import string

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hasten.events.brokers import _kafka_offsets
from hasten.events.brokers._kafka_offsets import LONGEST_METADATA, Progress, done_beyond


class Handling(RuleBasedStateMachine):
    """One partition and its consumers, one after the other.

    Offsets have gaps, as compaction and transactions leave them. Each consumer takes records in order from the
    committed offset on, finishes them in any order, and may be replaced after a commit.
    """

    @initialize(gaps=st.lists(st.integers(1, 3), min_size=1, max_size=60), start=st.integers(0, 5))
    def write(self, gaps: list[int], start: int) -> None:
        self.log: list[int] = []
        at = start
        for gap in gaps:
            self.log.append(at)
            at += gap
        self.handled: list[int] = []
        self.committed: tuple[int, str] = (-1, "")
        self.join()

    def join(self) -> None:
        self.progress = Progress(*self.committed)
        self.unread = [offset for offset in self.log if offset >= self.committed[0]]
        self.open: list[int] = []

    @precondition(lambda self: self.unread)
    @rule(count=st.integers(1, 10))
    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.unread))):
            offset = self.unread.pop(0)
            if self.progress.take(offset):
                self.open.append(offset)
            else:
                assert offset in self.handled, "left out, and nobody has handled it"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        assert offset not in self.handled, "handled twice, though it had been committed"
        self.progress.done(offset)
        self.handled.append(offset)

    @rule()
    def commit_and_leave(self) -> None:
        mark = self.progress.mark()
        if mark is not None:
            self.committed = mark
        self.join()

    @invariant()
    def what_is_committed_is_done(self) -> None:
        mark = self.progress.mark()
        if mark is None:
            return
        offset, metadata = mark
        assert all(each in self.handled for each in self.log if each < offset)
        after = Progress(offset, metadata)
        again = [each for each in self.log if each >= offset and after.take(each)]
        assert again == [each for each in self.log if each >= offset and each not in self.handled]

    @invariant()
    def what_is_read_again_is_left_alone(self) -> None:
        for offset in self.open:
            assert not self.progress.take(offset)


TestHandling = Handling.TestCase


def test_nothing_to_say() -> None:
    """As long as nothing was read nothing is committed, so that a group without offsets has none."""
    assert Progress().mark() is None
    assert Progress(7, "hasten 1 1").mark() == (7, "hasten 1 1")


def test_one_that_takes_long() -> None:
    """One message that is not done costs no memory for those that come after it, however many."""
    progress = Progress(0)
    assert progress.take(0)
    for offset in range(1, 100_000):
        assert progress.take(offset)
        progress.done(offset)
        if offset % 1000 == 0:
            assert progress.mark() == (0, f"hasten 1 {offset}")
            assert len(progress._order) <= _kafka_offsets._LEAST_SPARE
    progress.done(0)
    assert progress.mark() == (100_000, "")


def test_more_than_fits() -> None:
    """Metadata stay as long as a broker takes them; what does not fit comes again, and nothing is left out."""
    progress = Progress(0)
    for offset in range(20_000):
        progress.take(offset)
    for offset in range(1, 20_000, 2):
        progress.done(offset)
    mark = progress.mark()
    assert mark is not None
    assert len(mark[1]) <= LONGEST_METADATA
    after = Progress(*mark)
    again = [offset for offset in range(20_000) if after.take(offset)]
    assert set(again) >= set(range(0, 20_000, 2))
    assert 0 < done_beyond(*mark) == 20_000 - len(again)


@given(st.integers(0, 2**62), st.text(st.sampled_from(string.digits + " -²x")) | st.text())
def test_metadata_from_elsewhere(offset: int, metadata: str) -> None:
    """Metadata that others have committed leave nothing out, unless they are written as ours are."""
    for text in (metadata, f"other {metadata}"):
        progress = Progress(offset, text)
        assert progress.take(offset) or text.startswith("hasten 0 ")
        assert done_beyond(offset, text) >= 0

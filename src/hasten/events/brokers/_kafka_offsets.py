"""How far a group has come in a partition, as Kafka keeps it: one offset, and in a text beside it what lies beyond.

Messages of a partition are handled at once, and end in any order. Kafka keeps one offset for a group and partition: all
before it is done. So the offset of the first message that is not done is committed, and in the commit's metadata the
messages after it that are done all the same, so that who takes the partition over does not handle them again.

    offset  10  11  12  13  14  15  16          committed: 11
            ok  --  --  ok  ok  --  (not read)  metadata:  "hasten 2 2", two to do, two done

Source: the idea of Confluent's parallel consumer for Java, which keeps such a map in the metadata as well.
"""

from collections import deque
from collections.abc import Iterable, Iterator

LONGEST_METADATA = 4000
"""Characters; a broker takes 4096 by default (`offset.metadata.max.bytes`). What does not fit comes again."""
_MARK = "hasten"
_LEAST_SPARE = 256

Run = tuple[int, int]
"""The first and the last offset of messages that are done, both inclusive."""


class Progress:
    """What is done in one partition, since it was assigned; 0.3 µs a message.

    Args:
      committed: The offset that the group had committed; negative if none.
      metadata: What was committed with it.
    """

    __slots__ = ("_known", "_next", "_open", "_order")

    def __init__(self, committed: int = -1, metadata: str | None = None) -> None:
        self._known = deque(_runs_of(committed, metadata or "")) if committed >= 0 else deque[Run]()
        self._next = committed  # all before it was read
        self._open: set[int] = set()
        self._order: deque[int] = deque()  # of those that are open, and of some that are not any more

    def take(self, offset: int) -> bool:
        """Note a record that was read; return whether it is to be handled: it was not when it was committed."""
        if offset < self._next:  # read again: it is done, or under way
            return False
        self._next = offset + 1
        known = self._known
        while known and known[0][1] < offset:
            known.popleft()
        if known and known[0][0] <= offset:
            return False
        self._open.add(offset)
        self._order.append(offset)
        return True

    def done(self, offset: int) -> None:
        """Note that a record was handled."""
        self._open.discard(offset)

    def mark(self) -> tuple[int, str] | None:
        """Return what to commit, the offset and the metadata; None as long as there is nothing to say."""
        first = self._first_open()
        if first < 0:
            return None
        if first == self._next and not self._known:
            return first, ""
        return first, _metadata_of(first, self._done_from(first))

    def _first_open(self) -> int:
        """Return the offset before which all is done."""
        order, still = self._order, self._open
        while order and order[0] not in still:
            order.popleft()
        if len(order) > 2 * len(still) + _LEAST_SPARE:  # one that takes long must not keep all that come after it
            self._order = order = deque(sorted(still))
        return order[0] if order else self._next

    def _done_from(self, first: int) -> Iterator[Run]:
        """Yield the runs of what is done from an offset on, in order; what was never written counts as done."""
        begin = first
        for offset in sorted(self._open):
            if offset > begin:
                yield begin, offset - 1
            begin = offset + 1
        if self._next > begin:
            yield begin, self._next - 1
        for low, high in self._known:
            if high >= self._next:
                yield max(low, self._next), high


def done_beyond(committed: int, metadata: str | None) -> int:
    """Return how many messages after a committed offset are done."""
    return sum(high - low + 1 for low, high in _runs_of(committed, metadata or ""))


def _metadata_of(first: int, runs: Iterable[Run]) -> str:
    """Return runs as a text: how many are to do, how many are done, and so on by turns, from `first` on."""
    parts, length, at = [_MARK], len(_MARK), first
    for low, high in runs:
        part = f"{low - at} {high - low + 1}"
        length += len(part) + 1
        if length > LONGEST_METADATA:
            break
        parts.append(part)
        at = high + 1
    return " ".join(parts) if len(parts) > 1 else ""


def _runs_of(first: int, metadata: str) -> list[Run]:
    """Return the runs that a text says; none if it is not ours."""
    mark, *numbers = metadata.split(" ")
    if mark != _MARK or len(numbers) % 2 or not all(each.isascii() and each.isdigit() for each in numbers):
        return []
    runs, at = [], first
    for to_do, done in zip(numbers[::2], numbers[1::2], strict=True):
        low = at + int(to_do)
        at = low + int(done)
        if at > low:
            runs.append((low, at - 1))
    return runs

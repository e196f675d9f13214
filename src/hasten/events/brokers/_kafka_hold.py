"""Messages that were read out of partitions and are to be delivered later."""

from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from hasten.events._envelope import Envelope
from hasten.events.brokers._kafka_commits import Share

MOST_HELD = 1000
"""Messages; their offsets fit into a commit's metadata."""
MOST_BYTES = 16 * 1024 * 1024
"""Of payloads that are held."""


class Opened(NamedTuple):
    """A message that was read out of a partition.

    Attributes:
      returned: How often it came back here without being settled.
    """

    share: Share
    offset: int
    envelope: Envelope
    returned: int


class Hold:
    """Messages with the times when they are due, by any one clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Opened]] = []
        self._sequence = count()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Whether no more should be read that has to wait."""
        return len(self._heap) >= MOST_HELD or self._bytes >= MOST_BYTES

    @property
    def has_room(self) -> bool:
        """Whether it is half empty again."""
        return len(self._heap) <= MOST_HELD // 2 and self._bytes <= MOST_BYTES // 2

    @property
    def next_due(self) -> float | None:
        """When the first one is due."""
        return self._heap[0][0] if self._heap else None

    def push(self, due: float, opened: Opened) -> None:
        """Keep a message."""
        heappush(self._heap, (due, next(self._sequence), opened))
        self._bytes += len(opened.envelope.body)

    def pop_due(self, now: float) -> list[Opened]:
        """Return what is due, the earliest first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            opened = heappop(self._heap)[2]
            self._bytes -= len(opened.envelope.body)
            due.append(opened)
        return due

    def drop(self, gone: set[Share]) -> None:
        """Forget the messages of partitions."""
        self._heap = [each for each in self._heap if each[2].share not in gone]
        heapify(self._heap)
        self._bytes = sum(len(opened.envelope.body) for _, _, opened in self._heap)

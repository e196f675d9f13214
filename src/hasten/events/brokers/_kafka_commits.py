"""Tells a group how far it has come: what has changed, soon after it has, and one commit at a time."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from hasten.events.brokers._kafka_offsets import Progress

COMMIT_SECONDS = 0.05
"""Between two commits, unless much was settled: half of `MOST_UNCOMMITTED`."""
MOST_UNCOMMITTED = 256
"""Messages that are settled and may not be committed yet; four times the prefetch if that is more.

They come again when the process is killed, or Kafka gives its partitions to others; so nothing more is delivered then
until a commit is answered, as when Kafka stands still.
"""
KEEP_SECONDS = 3600.0
"""Until offsets are committed that have not changed; `offsets.retention.minutes` are 7 days by default."""
Key = tuple[str, int]
"""Topic and partition."""
Mark = tuple[str, int, int, str]
"""Topic, partition, offset and metadata to commit."""


class Share:
    """A partition that a consumer has.

    Attributes:
      key: Topic and partition.
      live: Whether what is settled counts.
      out: Deliveries that are not settled.
      told: What was committed last.
      settled: Messages that are settled, and not known to be committed.
      sent: Those of them that the commit under way is about.
    """

    __slots__ = ("is_retry", "key", "live", "out", "progress", "sent", "settled", "told")

    def __init__(self, key: Key, progress: Progress, *, is_retry: bool) -> None:
        self.key = key
        self.progress = progress
        self.is_retry = is_retry
        self.live = True
        self.out = 0
        self.told: tuple[int, str] | None = None
        self.settled = 0
        self.sent = 0


class Commits:
    """The commits of one consumer.

    Args:
      shares: The partitions that it has now; others are not committed here.
      send: Sends a commit; `answered` must be called with what came of it.
      most: Messages that may be settled and not committed.
      room: Called when there are fewer again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        shares: Mapping[Key, Share],
        send: Callable[[Sequence[Mark]], None],
        most: int,
        room: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._shares = shares
        self._send = send
        self._most = most
        self._room = room
        self._settled = 0
        self._changed: set[Share] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_under_way = False
        self._is_closed = False
        self._keeper = loop.call_later(KEEP_SECONDS, self._keep)

    @property
    def is_behind(self) -> bool:
        """Whether so much is settled and not committed that nothing more should be delivered."""
        return self._settled >= self._most

    def settle(self, share: Share) -> None:
        """Have it committed soon that one more of its messages is settled."""
        share.settled += 1
        self._settled += 1
        self.note(share)

    def note(self, share: Share) -> None:
        """Have what has changed committed soon."""
        self._changed.add(share)
        if self._is_under_way or self._is_closed:
            return
        if self._settled >= self._most // 2:
            self._commit()
        elif self._timer is None:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self._commit)

    def drop(self, shares: Iterable[Share]) -> None:
        """Forget partitions that are given up, or lost."""
        for share in shares:
            self._confirm(share, share.settled)
            share.sent = 0

    def _confirm(self, share: Share, count: int) -> None:
        was_behind = self.is_behind
        share.settled -= count
        self._settled -= count
        if was_behind and not self.is_behind:
            self._room()

    def _commit(self) -> None:
        """Commit what has changed; the next time when this is answered, so that no older one comes after it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        changed, self._changed = self._changed, set()
        marks: list[Mark] = []
        for share in changed:
            if self._shares.get(share.key) is not share:
                continue
            mark = share.progress.mark()
            if mark is None or mark == share.told:
                self._confirm(share, share.settled)
                continue
            share.told, share.sent = mark, share.settled
            marks.append((*share.key, *mark))
        if marks:
            self._is_under_way = True
            self._send(marks)

    def answered(self, marks: Sequence[Mark], *, done: bool) -> None:
        """Take what came of a commit; one that failed is tried again."""
        self._is_under_way = False
        shares = [share for mark in marks if (share := self._shares.get(mark[:2])) is not None]
        if not done:
            self._again(shares)
            return
        for share in shares:
            self._confirm(share, share.sent)
        if self._changed:
            self.note(next(iter(self._changed)))

    def _again(self, shares: Iterable[Share]) -> None:
        """Commit once more after a while, also what has not changed."""
        for share in shares:
            share.told = None
            self._changed.add(share)
        if self._changed and self._timer is None and not self._is_under_way and not self._is_closed:
            self._timer = self._loop.call_later(COMMIT_SECONDS, self._commit)

    def _keep(self) -> None:
        """Commit the retry topic's offsets again: the brokers forget those of topics that nobody subscribes to."""
        self._again(share for share in self._shares.values() if share.is_retry)
        self._keeper = self._loop.call_later(KEEP_SECONDS, self._keep)

    def close(self) -> None:
        """Commit no more."""
        self._is_closed = True
        self._keeper.cancel()
        if self._timer is not None:
            self._timer.cancel()


def last_marks(shares: Iterable[Share]) -> list[Mark]:
    """Return all that is to be committed of partitions that are given up: nobody will learn whether it failed."""
    return [(*share.key, *mark) for share in shares if (mark := share.progress.mark()) is not None]

"""The file behind a durable `memory://`: an SQLite database that one process has open, used in one thread.

    crowd     a group: its topic, its name, and the last message of those in line that was delivered
    message   a group's copy of a message, in the order of publishing; what may change of it has a column of its own

There is no index but the number, and rows are added behind and removed in front, so that the pages of removed ones take
those that are added: the file is as large as the longest backlog was. When it is opened and more than half of it is
empty, it is written anew (VACUUM), which takes as long as what is left is large. Incremental vacuum would cost a page
map, and writes, all the while.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers._memory_group import State

VERSION = 1
"""Of what is in the file; a newer one is refused."""
_APPLICATION = 0x68_73_74_65  # "hste", in the file's header
_MOSTLY_EMPTY_PAGES = 1024  # 4 MB: below that the file may be as empty as it likes
_AT_ONCE = tuple(1 << power for power in range(6, -1, -1))  # rows of one statement; 64 times 7 values are within 999

_SCHEMA = f"""
BEGIN;
CREATE TABLE crowd (
    number INTEGER PRIMARY KEY, topic TEXT NOT NULL, name TEXT NOT NULL, delivered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE message (
    number INTEGER PRIMARY KEY, crowd INTEGER NOT NULL, state INTEGER NOT NULL, due REAL, returned INTEGER NOT NULL,
    attempt INTEGER NOT NULL, reason TEXT NOT NULL, kept BLOB NOT NULL
);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
_CAME_BACK = f"""
UPDATE message SET state = {State.BACK}, returned = returned + 1, due = NULL
WHERE state = {State.OUT} OR (
    state = {State.IN_LINE} AND number <= (SELECT delivered FROM crowd WHERE crowd.number = message.crowd)
)
"""
_CHANGE = "UPDATE message SET state = ?, due = ?, returned = ?, attempt = ?, reason = ? WHERE number = ?"
# A statement for many rows is one step for SQLite, and each step lets go of the interpreter's lock and waits for it: a
# busy event loop gives it back after 5 ms.
_ADD = {
    many: "INSERT INTO message (number, crowd, state, due, returned, attempt, reason, kept) VALUES "
    + ", ".join(["(?, ?, ?, ?, 0, ?, ?, ?)"] * many)
    for many in _AT_ONCE
}
_REMOVE = {many: f"DELETE FROM message WHERE number IN ({', '.join('?' * many)})" for many in _AT_ONCE}

Added = tuple[int, int, int, float | None, int, str, bytes]
"""A new message: number, group's number, state, due (by `time.time()`), attempt, reason, what `packed` returns."""
_Kept = tuple[bytes, str, str, str, str, float, float, str, dict[str, str]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class Work:
    """What one transaction writes.

    Attributes:
      added: New messages.
      changed: What has become of messages: state, due, returned, attempt, reason, number.
      removed: Numbers of messages.
      delivered: The last message in line that was delivered, by the number of its group.
    """

    __slots__ = ("added", "changed", "delivered", "removed")

    def __init__(self) -> None:
        self.added: list[Added] = []
        self.changed: list[tuple[Any, ...]] = []
        self.removed: list[int] = []
        self.delivered: dict[int, int] = {}

    @property
    def has_notes(self) -> bool:
        """Whether there is more than new messages."""
        return bool(self.changed or self.removed or self.delivered)

    def take_notes(self, other: "Work") -> None:
        """Add all but the new messages of a later one, which is left without."""
        self.changed += other.changed
        self.removed += other.removed
        self.delivered |= other.delivered
        other.changed, other.removed, other.delivered = [], [], {}


class Failures(msgspec.Struct, frozen=True):
    """Why something was not written; empty for what was.

    Attributes:
      added: The new messages.
      notes: The rest of the work.
    """

    added: str = ""
    notes: str = ""


class KeptGroup(msgspec.Struct):
    """A group as the file has it.

    Attributes:
      messages: Its messages in their order: number, state, due, returned, envelope.
    """

    number: int
    topic: str
    name: str
    messages: list[tuple[int, State, float | None, int, Envelope]]


class MessageFile:
    """Messages in a file; each method blocks, and one is called at a time.

    Args:
      path: Absolute. A file that is not there is made.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"memory {path}"
        self.last = 0
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._is_synced = False

    def open(self) -> list[KeptGroup]:
        """Take the file for this process, and return what is in it; `last` is the last number of a message, then.

        Raises:
          ConfigurationError: it is no file of ours, or one of a newer version.
          BrokerUnavailable: it cannot be opened or written, is damaged, or another one has it.
        """
        try:
            self._connection = sqlite3.connect(self._path, timeout=0.0, isolation_level=None, check_same_thread=False)
            self._prepare(self._connection)
            return self._load(self._connection)
        except (
            sqlite3.Error,
            msgspec.MsgspecError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # no rows of ours
            self.close()
            raise self._refusal(error) from error
        except BaseException:
            self.close()
            raise

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # The lock is the kernel's: it ends with the process, however that ends. Before it nothing is written.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        is_new = self._is_new(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        connection.execute("PRAGMA synchronous = NORMAL")
        if is_new:
            connection.executescript(_SCHEMA)
            return
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found.replace("\n", " "))
        self._give_room_back(connection)

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """Whether nothing is in the file.

        Raises:
          ConfigurationError: there is, and it is not ours.
        """
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not tables and application in {0, _APPLICATION}:
            return True
        if application != _APPLICATION:
            raise ConfigurationError(str(self._path), "is a database of another program", "name another file")
        if version > VERSION:
            raise ConfigurationError(str(self._path), f"has format {version}", "a newer hasten has written it")
        return False

    def _give_room_back(self, connection: sqlite3.Connection) -> None:
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages > _MOSTLY_EMPTY_PAGES and free > pages // 2:
            try:
                connection.execute("VACUUM")
            except sqlite3.OperationalError as error:  # which wants room for a while; the next one may have it
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
                    raise

    def _load(self, connection: sqlite3.Connection) -> list[KeptGroup]:
        connection.execute(_CAME_BACK)
        groups = {}
        for number, topic, name, delivered in connection.execute("SELECT number, topic, name, delivered FROM crowd"):
            groups[number] = KeptGroup(number, topic, name, [])
            self.last = max(self.last, delivered)
        rows = "SELECT number, crowd, state, due, returned, attempt, reason, kept FROM message ORDER BY number"
        for number, crowd, state, due, returned, attempt, reason, kept in connection.execute(rows):
            envelope = unpacked(groups[crowd].topic, kept, attempt, reason)
            groups[crowd].messages.append((number, State(state), due, returned, envelope))
            self.last = max(self.last, number)
        return list(groups.values())

    def _refusal(self, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            return ConfigurationError(str(self._path), "is no SQLite file", "name another one")
        if code == sqlite3.SQLITE_BUSY:
            return BrokerUnavailable(self.name, "another process has it, or another bus here; give buses one broker")
        if code == sqlite3.SQLITE_CORRUPT:
            return BrokerUnavailable(self.name, f"is damaged ({error}); move it away, and try SQLite's .recover on it")
        return BrokerUnavailable(self.name, f"{error}; the file and its folder must be writable")

    def add_group(self, topic: str, name: str) -> int:
        """Return the number of a new group.

        Raises:
          BrokerError: it cannot be written.
        """
        assert self._connection is not None
        try:
            self._sync(self._connection, synced=True)
            number = self._connection.execute("INSERT INTO crowd (topic, name) VALUES (?, ?)", (topic, name)).lastrowid
        except sqlite3.Error as error:
            raise BrokerError(self.name, f"{topic} {name}: {error}") from error
        assert number is not None
        return number

    def write(self, work: Work) -> Failures:
        """Write what there is; if new messages keep the rest from being written, the rest alone."""
        first = self._write(work, work.added)
        if not first or not work.added:
            return Failures(notes=first)
        return Failures(first, self._write(work, ()))

    def _write(self, work: Work, added: Sequence[Added]) -> str:
        """Write in one transaction; return why it failed, and nothing is written, or nothing."""
        connection = self._connection
        assert connection is not None
        if not added and not work.has_notes:
            return ""
        try:
            self._sync(connection, synced=bool(added))
            connection.execute("BEGIN IMMEDIATE")
            for rows in _parts(added):
                connection.execute(_ADD[len(rows)], tuple(chain.from_iterable(rows)))
            if work.delivered:
                marks = [(last, group) for group, last in work.delivered.items()]
                connection.executemany("UPDATE crowd SET delivered = ? WHERE number = ?", marks)
            if work.changed:
                connection.executemany(_CHANGE, work.changed)
            for numbers in _parts(work.removed):
                connection.execute(_REMOVE[len(numbers)], numbers)
            connection.execute("COMMIT")
        except Exception as error:  # whatever it is, it harms this work alone
            self._roll_back(connection)
            return str(error) or type(error).__name__
        return ""

    def _sync(self, connection: sqlite3.Connection, *, synced: bool) -> None:
        """Choose whether a commit waits until the disk has it: for what is promised, that is new messages."""
        if synced != self._is_synced:
            connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._is_synced = synced

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:  # SQLite has done so itself
            pass

    def close(self) -> None:
        """Leave the file to others."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def packed(envelope: Envelope) -> bytes:
    """Return what is kept of an envelope: all but its topic, its attempt and its reason.

    Raises:
      ValueError: a text in it is none.
    """
    return _encode(
        (
            envelope.body,
            envelope.content_type,
            envelope.id,
            envelope.key,
            envelope.origin,
            envelope.time,
            envelope.deadline,
            envelope.traceparent,
            envelope.headers,
        )
    )


def unpacked(topic: str, kept: bytes, attempt: int, reason: str) -> Envelope:
    """Return an envelope of what is kept.

    Raises:
      msgspec.MsgspecError: it is none.
    """
    body, content_type, message_id, key, origin, published, deadline, traceparent, headers = _decode(kept)
    return Envelope(
        topic=topic,
        body=body,
        content_type=content_type,
        id=message_id,
        key=key,
        origin=origin,
        time=published,
        deadline=deadline,
        traceparent=traceparent,
        attempt=attempt,
        headers=headers,
        reason=reason,
    )


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut rows into parts of lengths for which there is a statement."""
    at = 0
    for many in _AT_ONCE:
        while len(rows) - at >= many:
            yield rows[at : at + many]
            at += many

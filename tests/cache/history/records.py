"""What the processes of the history check write down: one line of JSON for each thing that happened.

All moments are by `time.monotonic()`, which is one clock for all processes of a machine. What is to be known although
the process is killed at that moment is written before it is done, and again when it is done.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec


class Read(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    """A read began, and gave a number."""

    began: float
    key: int
    number: int


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """Since `ended` nobody who asks gets what is smaller than the number: an invalidation or a set was complete."""

    ended: float
    key: int
    number: int


class Loading(msgspec.Struct, frozen=True, array_like=True, tag="loading"):
    """The loader is called.

    Attributes:
      load: A number of its own in its process.
      asked: When the lookup began for which it is called.
      leased: When the key's lease was asked for and when it was given; None for a load without one.
      why: Why there is no lease, as far as the process knows: its breaker is "open"; a question has "failed"; an
        invalidation of the key is "pending", so that the second tier may hold what is invalid; or it has "waited" for
        the lease.
    """

    began: float
    key: int
    load: int
    asked: float
    leased: tuple[float, float] | None
    why: str


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag="loaded"):
    """The loader returns."""

    ended: float
    load: int


class Unwritten(msgspec.Struct, frozen=True, array_like=True, tag="unwritten"):
    """The second tier has not said whether it took a loaded value."""

    at: float
    key: int


class Dropping(msgspec.Struct, frozen=True, array_like=True, tag="dropping"):
    """The second tier is asked to delete values, and to raise tags."""

    began: float
    drop: int
    keys: tuple[int, ...]
    tags: tuple[int, ...]


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag="dropped"):
    """The second tier has said that it did."""

    ended: float
    drop: int


Record: TypeAlias = Read | Gone | Loading | Loaded | Unwritten | Dropping | Dropped


class Notebook:
    """Where one process writes down what happens.

    Args:
      file: Its own; made if it is not there.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._encoder = msgspec.json.Encoder()

    def note(self, record: Record) -> None:
        """Write a record at once: the process may be killed."""
        os.write(self._file, self._encoder.encode(record) + b"\n")


def read_records(folder: Path) -> Iterator[tuple[str, Record]]:
    """Yield all records of a folder's notebooks, each with its process; those of one process are in order."""
    decoder = msgspec.json.Decoder(Record)
    for file in folder.glob("*.records"):
        for line in file.read_bytes().split(b"\n"):
            if line.endswith(b"]"):  # the last may be cut off
                yield file.stem, decoder.decode(line)

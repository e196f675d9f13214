"""What is true of each key, in memory that processes share: a number that grows, with one writer for each key."""

import mmap
from pathlib import Path

_NUMBER_BYTES = 8


class Truth:
    """Numbers by key.

    Args:
      file: Holds them; made by `Truth.make`.
    """

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self._numbers = memoryview(self._memory).cast("q")  # writes 8 bytes at once; struct writes zeros first

    @classmethod
    def make(cls, file: Path, keys: int) -> "Truth":
        """Return numbers that are all 0."""
        file.write_bytes(bytes(_NUMBER_BYTES * keys))
        return cls(file)

    def __getitem__(self, key: int) -> int:
        return self._numbers[key]

    def raise_(self, key: int) -> int:
        """Make a key's number one higher, and return it; only the key's one writer does."""
        self._numbers[key] += 1
        return self._numbers[key]

    def close(self) -> None:
        self._numbers.release()
        self._memory.close()

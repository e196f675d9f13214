"""What is cached, and in which order it is asked for: the same for every subject."""

import itertools
import random
from bisect import bisect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

Item = dict[str, Any]
Load = Callable[[int], Coroutine[Any, Any, Item]]

KEYS = 256
CAPACITY = 10_000
TTL = 600
"""Seconds: nothing expires in a run."""
SMALL, LARGE = "", "x" * 150

_POPULATION = 100_000
_ZIPF = 0.9
_ACCESSES = 150_000
_BLOCK, _SCAN = 20_000, 8_000


class Source:
    """Where values come from; it counts how often it is asked.

    Args:
      text: A part of every value, for its size.
    """

    def __init__(self, text: str = SMALL) -> None:
        self.loads = 0
        self._text = text

    def item(self, key: int) -> Item:
        """Return the value of a key."""
        item = {"id": key, "name": "widget", "ok": True}
        return {**item, "text": self._text} if self._text else item

    def function(self) -> Load:
        """Return a new function that loads a value, to be decorated."""

        async def load(key: int) -> Item:
            self.loads += 1
            return self.item(key)

        return load


def zipf(seed: int) -> Iterator[int]:
    """Yield 150,000 keys of 100,000, popular by Zipf's law with exponent 0.9."""
    weights = list(itertools.accumulate(1 / rank**_ZIPF for rank in range(1, _POPULATION + 1)))
    source = random.Random(seed)
    return (bisect(weights, source.random() * weights[-1]) for _ in range(_ACCESSES))


def zipf_with_scans(seed: int) -> Iterator[int]:
    """Yield the same with 8,000 keys that are asked for once, in a row, after each 20,000."""
    fresh = itertools.count(_POPULATION)
    keys = zipf(seed)
    while block := list(itertools.islice(keys, _BLOCK)):
        yield from block
        yield from itertools.islice(fresh, _SCAN)


TRACES: dict[str, Callable[[int], Iterator[int]]] = {"zipf": zipf, "zipf-scan": zipf_with_scans}

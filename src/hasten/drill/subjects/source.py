"""A service that values are loaded from: it takes 100 ms, and notes when each load began and ended.

`/load?KEY` loads, `/loads?KEY` says which loads there were. After `/fail?1` it fails, as slowly, until `/fail?0`.
"""

import asyncio
from time import monotonic
from typing import Any

import msgspec

from hasten.drill.subjects._app import App

_TAKES = 0.1  # seconds
_VALUE = b"value"


class Load(msgspec.Struct, frozen=True):
    """A load that has ended: from when until when it was under way, by `time.monotonic()`."""

    began: float
    ended: float


class Source:
    """Loads values, all of them alike."""

    def __init__(self) -> None:
        self._loads: dict[str, list[Load]] = {}
        self._fails = False

    async def load(self, query: str) -> tuple[int, Any]:
        """Answer a GET with a value; the query is its key."""
        began = monotonic()
        await asyncio.sleep(_TAKES)
        self._loads.setdefault(query, []).append(Load(began, monotonic()))
        return (503, b"") if self._fails else (200, _VALUE)

    async def loads(self, query: str) -> tuple[int, Any]:
        """Answer which loads of a key there were."""
        return 200, self._loads.get(query, [])

    async def fail(self, query: str) -> tuple[int, Any]:
        """Fail from now on, or do not any more; answer which of the two."""
        self._fails = query == "1"
        return 200, self._fails


def __getattr__(name: str) -> Any:
    """Make the app when a server asks for it: each has loads of its own."""
    if name != "app":
        raise AttributeError(name)
    source = Source()
    return App({"/load": source.load, "/loads": source.loads, "/fail": source.fail})

"""Loads that are under way: one for a key, whoever wants it (single-flight).

The first caller leads: it loads in its own task, which costs no task (0.9 µs a miss where a task costs 5.7). Others
follow: they wait for the leader's future, shielded, so that none of them can hurt another. A leader that is cancelled
says so, and a follower leads from then on.
"""

import asyncio
import copy
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from hasten.cache._tags import Versions

V = TypeVar("V")


class LeaderGone(Exception):
    """Raised in followers whose leader was cancelled, or had less time than they: one of them leads now.

    It never leaves this package.
    """


class NotShared(Exception):
    """Raised in followers whose leader has got a value for itself alone: each loads for itself.

    It never leaves this package.
    """


class Flight(Generic[V]):
    """One load of one key, as those see it who wait for its value.

    Attributes:
      began: By `time.monotonic()`.
      region_name: Of the region, for the ledger.
      text: The key in the second tier; empty without one.
      versions: Of its tags, from before the loader was called; empty as long as it was not.
      detached: An invalidation has overtaken it: its value goes to those who wait, and is stored nowhere.
      overtaken_by: Tags that were invalidated meanwhile: the value may turn out to have one.
      found: Tags that the value turned out to have: who joined after one of them was invalidated must not get it.
    """

    # No slots: what most loads never set stays with the class, which saves 0.2 µs a load.
    began = 0.0
    region_name = ""
    text = ""
    versions: "Versions" = ()
    detached = False
    overtaken_by: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()
    _future: asyncio.Future[V] | None = None

    def join(self) -> Coroutine[Any, Any, V]:
        """Wait for the leader's value.

        Raises:
          LeaderGone, NotShared: there is none for us.
          Exception: the load failed; each follower gets an exception of its own.
        Cancellation: harms nobody else.
        """
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return _Wait(self).for_value(self._future)

    def pause(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait until another process's load may have ended."""
        return _Wait(self).for_others(seconds)

    def succeed(self, value: V) -> None:
        """Give the followers the value."""
        if self._future is not None and not self._future.done():
            self._future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Tell the followers."""
        future = self._future
        if future is not None and not future.done():
            future.set_exception(error)
            future.exception()  # none of them may wait any more, which is no error of its own


class _Wait:
    """A wait for a load that another leads, here or in another process; the ledger takes the two names from it.

    Not the flight's own: what its leader waits for in the loader would have the name, too.
    """

    __slots__ = ("wait_identity", "wait_name")

    def __init__(self, flight: Flight[Any]) -> None:
        self.wait_name = f"cache join {flight.region_name}"
        self.wait_identity = flight.text

    async def for_value(self, future: asyncio.Future[V]) -> V:
        try:
            return await asyncio.shield(future)
        except (LeaderGone, NotShared):
            raise
        except Exception as error:
            raise own_copy(error) from error

    async def for_others(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def own_copy(error: Exception) -> Exception:
    """Return an exception like `error` for one more caller: each raise grows its traceback, and callers add notes.

    One that cannot be made again is returned as it is.
    """
    for make in (copy.copy, _made_without_init):
        try:
            twin = make(error)
        except Exception:
            continue
        if type(twin) is type(error) and twin is not error:
            if hasattr(error, "__notes__"):
                twin.__notes__ = list(error.__notes__)
            return twin
    return error


def _made_without_init(error: Exception) -> Exception:
    """Make an exception whose `__init__` takes other arguments than it keeps."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin

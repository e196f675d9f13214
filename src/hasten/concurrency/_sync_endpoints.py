"""The threads of FastAPI's and Starlette's `def` endpoints: how many there are, and who waits for one."""

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hasten._core.errors import ConfigurationError

if TYPE_CHECKING:
    from anyio import CapacityLimiter


@dataclass(frozen=True, slots=True)
class SyncEndpointStatistics:
    """What the threads do now.

    Attributes:
      threads: At most so many.
      busy: Those that run something.
      waiting: Calls that no thread has taken. The queue has no bound: whoever waits, waits for as long as it takes.
    """

    threads: int
    busy: int
    waiting: int


class SyncEndpoints:
    """Sets how many threads FastAPI's `def` endpoints, dependencies and file responses have, which is 40 without.

        hasten.install(app, bus=SyncEndpoints(100))

    All of them share these threads, and so does whatever else calls anyio.to_thread.run_sync. More help where endpoints
    wait (a database driver without asyncio), and as many as it has connections; they do not help where endpoints
    compute, since only one thread runs Python at a time. An endpoint that calls what may stall is better `async def`
    with a `ThreadPool` of its own.

    The limit is one event loop's, and is what it was when the block ends.

    Args:
      threads: At most so many.
    Raises:
      ConfigurationError: `threads` is below 1; or, on entering, anyio is not there, and so FastAPI is not.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ConfigurationError(f"SyncEndpoints({threads})", "must be at least 1")
        self._threads = threads
        self._before = 0.0
        self._limiter: CapacityLimiter | None = None

    async def __aenter__(self) -> Self:
        """Set the limit of the running loop."""
        self._limiter = _limiter()
        self._before = self._limiter.total_tokens
        self._limiter.total_tokens = self._threads
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Set it back."""
        if self._limiter is not None:
            self._limiter.total_tokens = self._before
            self._limiter = None

    def statistics(self) -> SyncEndpointStatistics:
        """Return what the threads do now, in any thread."""
        if self._limiter is None:
            return SyncEndpointStatistics(self._threads, 0, 0)
        now = self._limiter.statistics()
        return SyncEndpointStatistics(self._threads, now.borrowed_tokens, now.tasks_waiting)


def _limiter() -> "CapacityLimiter":
    try:
        from anyio.to_thread import current_default_thread_limiter
    except ModuleNotFoundError as error:
        if error.name != "anyio":
            raise
        raise ConfigurationError("SyncEndpoints", "anyio is not installed", "it comes with FastAPI") from error
    return current_default_thread_limiter()

"""Keeps the event loop free, and what runs on it in hand.

`ThreadPool` runs what blocks, each dependency's in threads of its own, with a bound on those that wait; `SyncEndpoints`
sets how many threads FastAPI's `def` endpoints have. `gather` and `map_concurrent` run many calls with a limit, by the
deadline, and leave none behind. `Background` keeps tasks that nobody waits for. `TaskWatch` finds those that nobody
looks after, and coroutines that nobody has awaited. `GcPolicy` keeps garbage collections short.

Each but the functions is an async context manager, and lives with an app: `hasten.install(app, bus=[...])`.
"""

from hasten._core.signals import Stray, StrayHook, StrayKind, ThreadHook, ThreadOutcome, ThreadWork
from hasten.concurrency._background import Background, BackgroundStatistics
from hasten.concurrency._gather import gather, map_concurrent
from hasten.concurrency._gc_policy import GcPolicy, GcStatistics
from hasten.concurrency._stray_records import TaskWatchStatistics
from hasten.concurrency._sync_endpoints import SyncEndpoints, SyncEndpointStatistics
from hasten.concurrency._task_watch import TaskWatch
from hasten.concurrency._thread_counts import ThreadPoolStatistics
from hasten.concurrency._thread_pool import ThreadPool

__all__ = (
    "Background",
    "BackgroundStatistics",
    "GcPolicy",
    "GcStatistics",
    "Stray",
    "StrayHook",
    "StrayKind",
    "SyncEndpointStatistics",
    "SyncEndpoints",
    "TaskWatch",
    "TaskWatchStatistics",
    "ThreadHook",
    "ThreadOutcome",
    "ThreadPool",
    "ThreadPoolStatistics",
    "ThreadWork",
    "gather",
    "map_concurrent",
)

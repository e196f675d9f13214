"""Thread pools, background tasks, strays, the collector: calls and strays by signals, all else by their own numbers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from hasten._core.signals import Stray, StrayHook, ThreadHook, ThreadOutcome, ThreadWork
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._recorder import Reading, Recorder

if TYPE_CHECKING:
    from hasten.concurrency import BackgroundStatistics, GcStatistics, ThreadPoolStatistics


def thread_hook(recorder: Recorder, pool: str) -> ThreadHook:
    """Return what counts and times the calls of a `ThreadPool`: 0.4 µs for each, with the record."""
    queued = recorder.histograms(catalogue.THREADPOOL_QUEUE_DURATION).child(pool)
    ran = recorder.histograms(catalogue.THREADPOOL_RUN_DURATION).child(pool)
    counters = recorder.counters(catalogue.THREADPOOL_CALLS)
    calls = {outcome: counters.child(pool, outcome) for outcome in get_args(ThreadOutcome)}

    def note(work: ThreadWork) -> None:
        calls[work.outcome].value += 1
        if work.outcome != "refused":
            queued.observe(work.waited)
        if work.ran:
            ran.observe(work.ran)

    return note


def thread_readings(pool: str, now: "ThreadPoolStatistics") -> Iterator[Reading]:
    """Return what the threads of a `ThreadPool` do now."""
    yield catalogue.THREADPOOL_THREADS, (pool, "busy"), now.busy
    yield catalogue.THREADPOOL_THREADS, (pool, "limit"), now.threads
    yield catalogue.THREADPOOL_QUEUED, (pool,), now.waiting


def background_readings(background: str, now: "BackgroundStatistics") -> Iterator[Reading]:
    """Return the numbers of a `Background`."""
    yield catalogue.BACKGROUND_TASKS, (background,), now.running
    yield catalogue.BACKGROUND_ENDED, (background, "done"), now.done
    yield catalogue.BACKGROUND_ENDED, (background, "failed"), now.failed
    yield catalogue.BACKGROUND_ENDED, (background, "cancelled"), now.cancelled
    yield catalogue.BACKGROUND_ENDED, (background, "refused"), now.refused


def stray_hook(recorder: Recorder) -> StrayHook:
    """Return what counts the strays of a `TaskWatch`."""
    strays = recorder.counters(catalogue.STRAYS)

    def note(stray: Stray) -> None:
        strays.child(stray.kind, stray.site).value += 1

    return note


def collector_readings(now: "GcStatistics") -> Iterator[Reading]:
    """Return what a `GcPolicy` has taken out of garbage collections."""
    yield catalogue.GC_FROZEN, (), now.frozen

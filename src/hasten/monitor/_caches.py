"""Caches, breakers and limiters: loads by signals, all else by the numbers that they keep themselves."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hasten._core.signals import CacheHook, CacheLoaded
from hasten.monitor import _catalogue as catalogue
from hasten.monitor._recorder import Reader, Reading, Recorder
from hasten.resilience import BreakerStatistics, LimiterStatistics, Priority

if TYPE_CHECKING:
    from hasten.cache import CacheStatistics

_STATES = {"closed": 0.0, "half-open": 1.0, "open": 2.0}


def cache_hook(recorder: Recorder, cache: str) -> CacheHook:
    """Return what times the loads of a cache."""
    durations = recorder.histograms(catalogue.CACHE_LOAD_DURATION)
    loads = recorder.counters(catalogue.CACHE_LOADS)

    def note(signal: CacheLoaded) -> None:
        durations.child(cache, signal.region, signal.source).observe(signal.seconds)
        loads.child(cache, signal.region, signal.source, "ok" if signal.ok else "error").value += 1

    return note


def cache_reader(cache: str, statistics: Callable[[], "CacheStatistics"]) -> Reader:
    """Return what reads a cache's own numbers."""

    def read() -> Iterator[Reading]:
        now = statistics()
        for region, counts in now.regions.items():
            of = (cache, region)
            yield catalogue.CACHE_REQUESTS, (*of, "hit"), counts.hits
            yield catalogue.CACHE_REQUESTS, (*of, "stale"), counts.stale
            yield catalogue.CACHE_REQUESTS, (*of, "miss"), counts.misses
            yield catalogue.CACHE_JOINS, of, counts.joined
            yield catalogue.CACHE_STALE_ON_ERROR, of, counts.stale_on_error
            yield catalogue.CACHE_OVERTAKEN, of, counts.detached
            yield catalogue.CACHE_STALENESS, of, counts.most_stale
        yield catalogue.CACHE_ENTRIES, (cache,), now.entries
        yield catalogue.CACHE_SIZE, (cache,), now.size_bytes
        yield catalogue.CACHE_EVICTIONS, (cache,), now.evicted
        yield catalogue.CACHE_PENDING, (cache,), now.pending
        yield catalogue.CACHE_TRUSTED, (cache,), int(now.trusted)
        if now.second:
            yield catalogue.CACHE_SECOND_FAILURES, (cache,), now.second_failures
        if now.breaker is not None:
            yield from breaker_readings(f"{cache} {now.second}", now.breaker)

    return read


def breaker_readings(breaker: str, now: BreakerStatistics) -> Iterator[Reading]:
    """Return the numbers of a breaker."""
    yield catalogue.BREAKER_STATE, (breaker,), _STATES[now.state]
    yield catalogue.BREAKER_OPENED, (breaker,), now.opened
    yield catalogue.BREAKER_CALLS, (breaker, "answer"), now.answers
    yield catalogue.BREAKER_CALLS, (breaker, "slow"), now.slow
    yield catalogue.BREAKER_CALLS, (breaker, "failure"), now.failures
    yield catalogue.BREAKER_CALLS, (breaker, "timeout"), now.timeouts
    yield catalogue.BREAKER_CALLS, (breaker, "probe"), now.probes
    yield catalogue.BREAKER_CALLS, (breaker, "refused"), now.refused


def limiter_readings(limiter: str, now: LimiterStatistics) -> Iterator[Reading]:
    """Return the numbers of a limiter."""
    yield catalogue.LIMITER_LIMIT, (limiter,), now.limit
    yield catalogue.LIMITER_IN_FLIGHT, (limiter,), now.in_flight
    for priority in Priority:
        name = priority.name.lower()
        yield catalogue.LIMITER_REQUESTS, (limiter, name, "admitted"), now.admitted[priority]
        yield catalogue.LIMITER_REQUESTS, (limiter, name, "refused"), now.refused[priority]

"""The last five minutes of a process, second by second: snapshots come in, samples go out; pure.

    live = Live(objectives)
    sample = live.add(snapshot, clock=monotonic(), blocked_at=..., checks=...)     # once a second
    live.story()

A sample is made of the difference of two snapshots: the last second's for what is drawn (`Point`), the last ten
seconds' for the tables, in which seldom requests would come and go, and the last five minutes' for objectives. Memory
has a bound: 300 points, eleven snapshots, and two numbers for each objective and second.
"""

from collections import deque
from collections.abc import Callable, Iterable

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._promises import Promises
from hasten.monitor._sample import (
    BlockingSite,
    Budget,
    Consumer,
    Dependency,
    Holds,
    Lookups,
    Occupied,
    Outbox,
    Point,
    Sample,
    Share,
    Story,
    Timed,
)
from hasten.monitor._snapshot import Snapshot
from hasten.monitor._window import Timing, Values, Window, total
from hasten.monitor.slo import SERVER_FAULTS, Objective

KEPT = 300
"""Points, and seconds that the burn of an objective is over."""
TABLES = 10
"""Seconds that rates and quantiles of the tables are over."""
MOST_ROWS = 20
_MOST_ENDPOINTS = 5
_SHORTEST = 1e-3
_NO_ROUTE = "(no route)"
_STATES = ("closed", "half-open", "open")


class Live:
    """Makes a sample of each snapshot of one process, and remembers.

    Args:
      objectives: What the process promises.
    """

    def __init__(self, objectives: Iterable[Objective]) -> None:
        self._promises = Promises(objectives)
        self._points: deque[Point] = deque(maxlen=KEPT)
        self._snapshots: deque[tuple[float, Snapshot]] = deque(maxlen=TABLES + 1)
        self._events: deque[tuple[float, tuple[int, ...], tuple[int, ...]]] = deque(maxlen=KEPT + 1)
        self._seen: dict[str, tuple[float, float | None]] = {}
        self._sample: Sample | None = None

    def story(self, after: float = 0.0) -> Story:
        """Return the points after a Unix time, and the newest sample."""
        return Story(points=tuple([point for point in self._points if point.at > after]), sample=self._sample)

    def add(
        self,
        snapshot: Snapshot,
        *,
        clock: float,
        blocked: float = 0.0,
        blocked_at: str = "",
        checks: Iterable[Holds] = (),
    ) -> Sample:
        """Return the sample that a snapshot makes with those before it; the first one has no rates.

        Args:
          clock: Monotonic seconds when it was taken.
          blocked, blocked_at: For how long the loop has not called back, and what holds it.
        """
        last = self._since(-1, clock, snapshot)
        self._snapshots.append((clock, snapshot))
        self._events.append((clock, *self._promises.count(last)))
        recent = self._since(0, clock, snapshot)
        self._note_sites(recent, snapshot.at, first=len(self._snapshots) == 1)
        point = _point(last, snapshot.at, blocked)
        self._points.append(point)
        self._sample = self._made(recent, snapshot, point, blocked_at, tuple(checks))
        return self._sample

    def _since(self, at: int, clock: float, snapshot: Snapshot) -> Window:
        before, earlier = self._snapshots[at] if self._snapshots else (clock, snapshot)
        return Window(earlier, snapshot, max(_SHORTEST, clock - before))

    def _made(
        self, window: Window, snapshot: Snapshot, point: Point, blocked_at: str, checks: tuple[Holds, ...]
    ) -> Sample:
        routes, more = _routes(window, self._promises)
        return Sample(
            service=snapshot.service,
            worker=snapshot.worker,
            started=snapshot.started,
            seconds=round(window.seconds, 3),
            point=point,
            blocked_at=blocked_at,
            tasks=_only(window.gauges(catalogue.LOOP_TASKS)),
            checks=checks,
            objectives=tuple(self._budgets()),
            routes=routes,
            routes_more=more,
            shares=_shares(window),
            sites=self._sites(window),
            answered=_calls(window, catalogue.RPC_SERVER_DURATION, self._promises),
            called=_calls(window, catalogue.RPC_CLIENT_DURATION, None),
            published=_published(window),
            consumers=_consumers(window, self._promises),
            outboxes=_outboxes(window),
            caches=_caches(window),
            pools=_pools(window),
            dependencies=_dependencies(window),
            pauses=_timed(window, "", _all(window, catalogue.GC_PAUSE)),
            thread_wait=_all(window, catalogue.THREADPOOL_WAIT).quantile(0.99),
        )

    # ---- objectives

    def _budgets(self) -> Iterable[Budget]:
        clock, events_before, bad_before = self._events[0]
        until, events_now, bad_now = self._events[-1]
        for number, objective in enumerate(self._promises.objectives):
            events = events_now[number] - events_before[number]
            bad = bad_now[number] - bad_before[number]
            yield Budget(
                name=objective.name,
                of=_covered(objective),
                target=objective.target,
                threshold=objective.threshold,
                window=objective.window,
                events=events,
                bad=bad,
                burn=round(bad / events / (1.0 - objective.target), 3) if events > 0 else None,
                seconds=round(until - clock, 3),
            )

    # ---- blocking sites

    def _note_sites(self, window: Window, at: float, *, first: bool) -> None:
        """Remember when a site was last seen to count."""
        for (site,), count in window.totals(catalogue.LOOP_BLOCKING).items():
            before, last = self._seen.get(site, (0.0, None))
            if count != before:
                self._seen[site] = (count, None if first else at)
            else:
                self._seen[site] = (count, last)

    def _sites(self, window: Window) -> tuple[BlockingSite, ...]:
        seconds = window.totals(catalogue.LOOP_BLOCKING_TIME)
        sites = [
            BlockingSite(site=site, count=count, seconds=round(seconds.get((site,), 0.0), 6), last=last)
            for site, (count, last) in self._seen.items()
        ]
        return tuple(sorted(sites, key=lambda one: (-(one.last or 0.0), -one.seconds))[:MOST_ROWS])


# ---- what is drawn


def _point(window: Window, at: float, blocked: float) -> Point:
    requests = window.timings(catalogue.HTTP_SERVER_DURATION)
    together = total(requests.values(), catalogue.HTTP_SERVER_DURATION)
    failed = sum(one.count for values, one in requests.items() if values[2].startswith("5"))
    lag = _all(window, catalogue.LOOP_LAG)
    lag_p99, most = lag.quantile(0.99), lag.longest()
    if blocked:
        lag_p99, most = max(lag_p99 or 0.0, blocked), max(most, blocked)
    waiting = window.gauges(catalogue.CONSUMER_LAG)
    return Point(
        at=round(at, 3),
        rate=_rate(window, together.count),
        errors=_rate(window, failed),
        p50=together.quantile(0.5),
        p90=together.quantile(0.9),
        p99=together.quantile(0.99),
        active=_only(window.gauges(catalogue.HTTP_SERVER_ACTIVE)),
        lag=lag_p99,
        lag_most=most or lag_p99,
        blocked=round(blocked, 3),
        cpu=_rate(window, sum(window.counts(catalogue.PROCESS_CPU).values())),
        memory=_only(window.gauges(catalogue.PROCESS_MEMORY)),
        collecting=_rate(window, _all(window, catalogue.GC_PAUSE).seconds),
        hit=_hit(window.counts(catalogue.CACHE_REQUESTS)),
        answered=_rate(window, _all(window, catalogue.RPC_SERVER_DURATION).count),
        called=_rate(window, _all(window, catalogue.RPC_CLIENT_DURATION).count),
        handled=_rate(window, _all(window, catalogue.PROCESS_DURATION).count),
        lag_messages=sum(waiting.values()) if waiting else None,
    )


def _hit(counts: dict[Values, float]) -> float | None:
    lookups = sum(counts.values())
    missed = sum(count for values, count in counts.items() if values[-1] == "miss")
    return round(1.0 - missed / lookups, 4) if lookups else None


# ---- tables


def _routes(window: Window, promises: Promises) -> tuple[tuple[Timed, ...], int]:
    """Return the routes with the most time, and how many others there are."""
    found = window.timings(catalogue.HTTP_SERVER_DURATION)
    failed = {values for values in found if values[2].startswith("5")}
    return _rows(window, found, failed, _route_name, promises, catalogue.HTTP_SERVER_DURATION)


def _route_name(values: Values) -> str:
    method, route, _ = values
    return "(others)" if method == OTHER == route else f"{method} {route or _NO_ROUTE}"


def _calls(window: Window, metric: Metric, promises: Promises | None) -> tuple[Timed, ...]:
    found = window.timings(metric)
    failed = {values for values in found if values[1] in SERVER_FAULTS}
    return _rows(window, found, failed, _method_name, promises, metric)[0]


def _method_name(values: Values) -> str:
    return "(others)" if values[0] == OTHER else values[0]


def _published(window: Window) -> tuple[Timed, ...]:
    found = window.timings(catalogue.PUBLISH_DURATION)
    sent = window.counts(catalogue.MESSAGES_SENT)
    rows = []
    for row in _rows(window, found, set(), lambda values: values[0], None, catalogue.PUBLISH_DURATION)[0]:
        lost = sum(count for (topic, error), count in sent.items() if error and topic == row.name)
        rows.append(_with_failures(row, _rate(window, lost)))
    return tuple(rows)


def _with_failures(row: Timed, failed: float) -> Timed:
    return Timed(name=row.name, rate=row.rate, failed=failed, p50=row.p50, p90=row.p90, p99=row.p99, busy=row.busy)


def _consumers(window: Window, promises: Promises) -> tuple[Consumer, ...]:
    """Return the groups that handle something, or have something to handle."""
    found = window.timings(catalogue.PROCESS_DURATION)
    failed = {values for values in found if values[2]}
    rows, _ = _rows(window, found, failed, _group_name, promises, catalogue.PROCESS_DURATION)
    timed = {row.name: row for row in rows}
    waiting = _by_group(window.gauges(catalogue.CONSUMER_LAG))
    for name in (*waiting, *_by_group(window.totals(catalogue.MESSAGES_CONSUMED))):
        timed.setdefault(name, Timed(name=name))
    waits = window.timings(catalogue.EVENT_WAIT)
    waited = {_group_name(values): timing.quantile(0.99) for values, timing in waits.items()}
    dead = _by_group(window.gauges(catalogue.DEAD_LETTER_BACKLOG))
    retried = _by_group(window.counts(catalogue.EVENT_RETRIES))
    buried = _by_group(window.counts(catalogue.DEAD_LETTERS))
    return tuple(
        [
            Consumer(
                **{field: getattr(row, field) for field in Timed.__struct_fields__},
                retried=_rate(window, retried.get(row.name, 0.0)),
                buried=_rate(window, buried.get(row.name, 0.0)),
                waiting=waiting.get(row.name),
                dead=dead.get(row.name),
                waited=waited.get(row.name),
            )
            for row in list(timed.values())[:MOST_ROWS]
        ]
    )


def _by_group(values: dict[Values, float]) -> dict[str, float]:
    """Return the numbers of series by topic and group, added up."""
    found: dict[str, float] = {}
    for labels, value in values.items():
        name = _group_name(labels)
        found[name] = found.get(name, 0.0) + value
    return found


def _group_name(values: Values) -> str:
    return f"{values[0]} {values[1]}"


def _outboxes(window: Window) -> tuple[Outbox, ...]:
    oldest = window.gauges(catalogue.OUTBOX_OLDEST)
    waiting = window.gauges(catalogue.OUTBOX_WAITING).items()
    return tuple([Outbox(name=of[0], waiting=count, oldest=round(oldest.get(of, 0.0), 3)) for of, count in waiting])


def _caches(window: Window) -> tuple[Lookups, ...]:
    counts = window.counts(catalogue.CACHE_REQUESTS)
    loads = window.counts(catalogue.CACHE_LOADS)
    times = window.timings(catalogue.CACHE_LOAD_DURATION)
    rows = [_lookups(window, of, counts, loads, times) for of in dict.fromkeys(values[:2] for values in counts)]
    return tuple(sorted(rows, key=lambda row: -row.rate)[:MOST_ROWS])


def _lookups(
    window: Window,
    of: Values,
    counts: dict[Values, float],
    loads: dict[Values, float],
    times: dict[Values, Timing],
) -> Lookups:
    mine = {values: count for values, count in counts.items() if values[:2] == of}
    loaded = {values: count for values, count in loads.items() if values[:2] == of}
    loading = [timing for values, timing in times.items() if values[:2] == of]
    return Lookups(
        name=f"{of[0]} {of[1]}",
        rate=_rate(window, sum(mine.values())),
        hit=_hit(mine),
        stale=_rate(window, mine.get((*of, "stale"), 0.0)),
        loads=_rate(window, sum(loaded.values())),
        failed=_rate(window, sum(count for values, count in loaded.items() if values[-1] == "error")),
        p99=total(loading, catalogue.CACHE_LOAD_DURATION).quantile(0.99),
    )


def _pools(window: Window) -> tuple[Occupied, ...]:
    threads = window.gauges(catalogue.THREADPOOL_THREADS)
    queued = window.gauges(catalogue.THREADPOOL_QUEUED)
    connections = window.gauges(catalogue.POOL_CONNECTIONS)
    callers = window.gauges(catalogue.POOL_WAITING)
    rows = [
        Occupied(
            name=f"{pool or 'executor'} threads",
            used=threads.get((pool, "busy"), 0.0),
            limit=threads.get((pool, "limit"), 0.0),
            waiting=queued.get((pool,), 0.0),
        )
        for pool in dict.fromkeys(values[0] for values in threads)
    ]
    for pool in dict.fromkeys(values[0] for values in connections):
        used, limit = (connections.get((pool, state), 0.0) for state in ("used", "limit"))
        rows.append(Occupied(name=f"{pool} connections", used=used, limit=limit, waiting=callers.get((pool,), 0.0)))
    return tuple(rows[:MOST_ROWS])


def _dependencies(window: Window) -> tuple[Dependency, ...]:
    opened = window.totals(catalogue.BREAKER_OPENED)
    calls = window.counts(catalogue.BREAKER_CALLS)
    rows = [
        Dependency(
            name=breaker,
            state=_STATES[int(state)],
            opened=opened.get((breaker,), 0.0),
            refused=_rate(window, calls.get((breaker, "refused"), 0.0)),
        )
        for (breaker,), state in window.gauges(catalogue.BREAKER_STATE).items()
        if breaker != OTHER  # a sum of states is none
    ]
    return tuple(rows[:MOST_ROWS])


def _shares(window: Window) -> tuple[Share, ...]:
    """Return where the time of recorded requests went: of all, then of the endpoints with the most time."""
    requests = {of: count for (of,), count in window.counts(catalogue.LEDGER_REQUESTS).items() if count}
    seconds: dict[str, dict[str, float]] = {of: {} for of in requests}
    together: dict[str, float] = {}
    for (of, kind), spent in window.counts(catalogue.LEDGER_SECONDS).items():
        if spent and of in seconds:
            seconds[of][kind] = spent
            together[kind] = together.get(kind, 0.0) + spent
    most = sorted(seconds, key=lambda of: -sum(seconds[of].values()))[:_MOST_ENDPOINTS]
    shares = [_share(of, requests[of], seconds[of]) for of in most]
    return (_share("", sum(requests.values()), together), *shares) if shares else ()


def _share(endpoint: str, requests: float, seconds: dict[str, float]) -> Share:
    kinds = {kind: round(spent / requests, 7) for kind, spent in sorted(seconds.items(), key=lambda item: -item[1])}
    return Share(endpoint=endpoint, requests=requests, kinds=kinds)


# ---- parts


def _rows(
    window: Window,
    found: dict[Values, Timing],
    failed: set[Values],
    name: Callable[[Values], str],
    promises: Promises | None,
    metric: Metric,
) -> tuple[tuple[Timed, ...], int]:
    """Return a row for each name, its series added up over their outcomes, and how many more there are.

    Those with the most time come first; quantiles are made of those alone that are shown.
    """
    named: dict[str, Timing] = {}
    failures: dict[str, int] = {}
    thresholds: dict[str, float] = {}
    for values, timing in found.items():
        of = name(values)
        named[of] = named[of] + timing if of in named else timing
        failures[of] = failures.get(of, 0) + (timing.count if values in failed else 0)
        thresholds[of] = 0.0 if promises is None else promises.threshold(metric, values)
    most = sorted(named, key=lambda of: -named[of].seconds)[:MOST_ROWS]
    rows = [_timed(window, of, named[of], failures[of], thresholds[of]) for of in most]
    return tuple(rows), len(named) - len(rows)


def _timed(window: Window, name: str, timing: Timing, failed: float = 0.0, threshold: float = 0.0) -> Timed:
    return Timed(
        name=name,
        rate=_rate(window, timing.count),
        failed=_rate(window, failed),
        p50=timing.quantile(0.5),
        p90=timing.quantile(0.9),
        p99=timing.quantile(0.99),
        busy=_rate(window, timing.seconds),
        threshold=threshold,
    )


def _all(window: Window, metric: Metric) -> Timing:
    return total(window.timings(metric).values(), metric)


def _rate(window: Window, count: float) -> float:
    return round(count / window.seconds, 6)


def _only(values: dict[Values, float]) -> float:
    return next(iter(values.values()), 0.0)


def _covered(objective: Objective) -> str:
    if objective.rpc:
        return objective.rpc
    if objective.topic:
        return f"{objective.topic} {objective.group}".rstrip()
    if not objective.route:
        return f"all {objective.method} requests".replace("  ", " ")
    return f"{objective.method} {objective.route}".lstrip()

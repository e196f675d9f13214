"""The processes themselves: loops, garbage collection, threads, CPU, memory, files, and what the metrics left out."""

import msgspec

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import Metric
from hasten.monitor.dashboards._dashboard import Row, Sheet, service_variable, worker_variable
from hasten.monitor.dashboards._panels import ORANGE, RED, YELLOW, Json, Style, buckets, graph, heatmap, query
from hasten.monitor.dashboards._promql import events, gauge, quantile, rate, select, share, top

_WORKER, _WORKER_LEGEND = "job, instance, worker", "{{job}} {{instance}} {{worker}}"
_POOL, _POOL_LEGEND = f"{_WORKER}, pool", f"{_WORKER_LEGEND} {{{{pool}}}}"


def runtime() -> Sheet:
    """Return the page of processes."""
    return Sheet(
        uid="hasten-runtime",
        title="hasten: runtime",
        description="Event loops, garbage collection, threads and resources of every worker.",
        rows=(_loops(), _collections(), _threads(), _resources(), _metrics(), _exports()),
        variables=(service_variable(many=True), worker_variable()),
    )


def _loops() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    lag, step, blocking = catalogue.LOOP_LAG, catalogue.LOOP_STEP, catalogue.LOOP_BLOCKING_TIME
    return Row(
        "Event loops, the worst of them",
        (
            heatmap(
                "Lag",
                "How late timers are called back, ten times a second, in all workers. Single dark cells high up are "
                "blocking calls.",
                buckets(rate(lag, by="le", suffix="_bucket")),
                style=Style(unit="s"),
            ),
            _worst(
                "Lag, p99",
                "By worker. One worker above the others: its requests are other ones, or its core is shared.",
                (lag, quantile(0.99, lag, by=_WORKER)),
                Style(unit="s", thresholds=((0.05, ORANGE), (0.25, RED))),
            ),
            _worst(
                "Held",
                "Share of the time in which one piece of code held the loop for 20 ms or more. The service's page "
                "names the lines.",
                (blocking, rate(blocking, by=_WORKER)),
                Style(unit="percentunit", thresholds=((0.01, YELLOW), (0.05, RED))),
            ),
            _worst(
                "Held now",
                "Seconds for which a loop has not called back: it answers nothing.",
                (catalogue.LOOP_BLOCKED, gauge(catalogue.LOOP_BLOCKED, by=_WORKER)),
                Style(unit="s", thresholds=((1, RED),)),
            ),
            _worst(
                "Steps, p99",
                "How long a step of a recorded request keeps the loop. Above 5 ms others notice: compute elsewhere.",
                (step, quantile(0.99, step, by=_WORKER)),
                Style(unit="s", thresholds=((0.005, ORANGE),)),
            ),
            _worst(
                "Tasks",
                "That are not done. A line that only rises: tasks wait for something that never comes.",
                (catalogue.LOOP_TASKS, gauge(catalogue.LOOP_TASKS, by=_WORKER)),
                Style(),
            ),
        ),
    )


def _collections() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    pause, frozen = catalogue.GC_PAUSE, catalogue.GC_FROZEN
    return Row(
        "Garbage collection",
        (
            graph(
                "Pause, p99",
                "All threads stand still. Long ones of generation 2: many objects live long; `GcPolicy` leaves those "
                "alone that are there after the start.",
                query(quantile(0.99, pause, by="job, generation"), "{{job}} generation {{generation}}"),
                style=Style(unit="s", width=6, thresholds=((0.05, RED),)),
            ),
            _worst(
                "Share of the time",
                "That a worker stands still for collections. Above 2 %: fewer objects, or higher thresholds.",
                (pause, rate(pause, by=_WORKER, suffix="_sum")),
                Style(unit="percentunit", width=6, thresholds=((0.02, YELLOW), (0.05, RED))),
            ),
            graph(
                "Collections",
                "In a second, by generation.",
                query(events(pause, by="generation"), "generation {{generation}}"),
                style=Style(unit="cps", width=6),
            ),
            _worst(
                "Frozen objects",
                "That collections leave alone since a `GcPolicy` has frozen them. A pause that is long all the same "
                "looks at what was made since: caches that were filled later want `warm_up`.",
                (frozen, gauge(frozen, by=_WORKER)),
                Style(width=6),
            ),
        ),
    )


def _threads() -> Row:
    threads, queued, wait = catalogue.THREADPOOL_THREADS, catalogue.THREADPOOL_QUEUED, catalogue.THREADPOOL_WAIT
    used = share(gauge(threads, 'state="busy"', by=_POOL), gauge(threads, 'state="limit"', by=_POOL))
    return Row(
        "Threads, the fullest pools",
        (
            graph(
                "Busy",
                "Share of a pool's threads; anyio's run FastAPI's `def` endpoints. At 1 the next function waits: make "
                "what blocks async, or give it a pool of its own.",
                query(top(used, threads, 'state="busy"', by=_POOL), _POOL_LEGEND),
                style=Style(unit="percentunit", most=1.0, table=True, thresholds=((0.9, RED),)),
            ),
            graph(
                "Queued",
                "Functions that no thread has taken yet.",
                query(top(gauge(queued, by=_POOL), queued, by=_POOL), _POOL_LEGEND),
                style=Style(table=True, thresholds=((1, ORANGE),)),
            ),
            _worst(
                "Wait, p99",
                "Until a thread has taken a function, in recorded requests.",
                (wait, quantile(0.99, wait, by=_WORKER)),
                Style(unit="s", thresholds=((0.01, ORANGE),)),
            ),
        ),
    )


def _resources() -> Row:
    files = f"{gauge(catalogue.PROCESS_FILES, by=_WORKER)} / {gauge(catalogue.PROCESS_MOST_FILES, by=_WORKER)}"
    return Row(
        "Resources, the busiest workers",
        (
            _worst(
                "CPU",
                "Cores. A worker has one loop, so near 1 it is full: add workers.",
                (catalogue.PROCESS_CPU, rate(catalogue.PROCESS_CPU, by=_WORKER)),
                Style(thresholds=((0.8, ORANGE),)),
            ),
            _worst(
                "Memory",
                "In RAM. A line that only rises is a leak.",
                (catalogue.PROCESS_MEMORY, gauge(catalogue.PROCESS_MEMORY, by=_WORKER)),
                Style(unit="bytes"),
            ),
            _worst(
                "Files",
                "Share of the file descriptors that a process may have; connections count. At 1 it accepts nothing: "
                "raise `ulimit -n`, or find what is not closed.",
                (catalogue.PROCESS_FILES, files),
                Style(unit="percentunit", most=1.0, thresholds=((0.8, RED),)),
            ),
        ),
    )


def _metrics() -> Row:
    age = f"time() - max by ({_WORKER}) ({select(catalogue.PROCESS_START)})"
    return Row(
        "Uptime and metrics",
        (
            _worst(
                "Uptime",
                "Of the workers that were started last; it falls to zero at a restart.",
                (catalogue.PROCESS_START, age),
                Style(unit="s"),
            ),
            graph(
                "Folded",
                "Observations in a second that were counted under _other, because a metric has as many label sets as "
                "it may: something puts names without a bound into routes, methods or topics.",
                query(rate(catalogue.FOLDED, by="job, metric"), "{{job}} {{metric}}"),
                style=Style(unit="cps", table=True, thresholds=((0.001, ORANGE),)),
            ),
            graph(
                "Versions",
                "Workers by what runs in them. Two lines for long: a deploy has stopped half way.",
                query(f"count by (job, version) ({select(catalogue.BUILD)})", "{{job}} {{version}}"),
                style=Style(stacked=True),
            ),
        ),
    )


def _exports() -> Row:
    return Row(
        "Export to OpenTelemetry, where there is one",
        (
            graph(
                "Batches",
                "Sent to the collector in a second, by what was in them and how it went. Failing ones: the collector "
                "is away or refuses them; the log of the service says why. Requests do not wait for it.",
                query(rate(catalogue.OTLP_EXPORTS, by="signal, outcome"), "{{signal}} {{outcome}}"),
                style=Style(unit="cps", width=12),
            ),
            graph(
                "Dropped spans",
                "Spans in a second that were recorded and not sent. queue: more come than are sent, sample fewer; "
                "export: the collector did not take them; end: left when the process ended.",
                query(rate(catalogue.OTLP_DROPPED, by="job, cause"), "{{job}} {{cause}}"),
                style=Style(unit="cps", width=12, thresholds=((0.001, ORANGE),)),
            ),
        ),
    )


def _worst(title: str, description: str, of: tuple[Metric, str], style: Style) -> Json:
    """Return a graph of the workers that are worst by a metric: `of` is that, and the query, by worker."""
    metric, expr = of
    shown = msgspec.structs.replace(style, table=True)
    return graph(title, description, query(top(expr, metric, by=_WORKER), _WORKER_LEGEND), style=shown)

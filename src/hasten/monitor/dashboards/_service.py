"""The anatomy of one service: what it promises, where the time of its requests goes, and what stands in their way."""

from collections.abc import Sequence

from hasten.monitor import _catalogue as catalogue
from hasten.monitor.dashboards._dashboard import Row, Sheet, endpoint_variable, service_variable, worker_variable
from hasten.monitor.dashboards._http_calls import http_calls
from hasten.monitor.dashboards._objectives import promises_row, threshold_lines
from hasten.monitor.dashboards._overview import FAILED_REQUESTS
from hasten.monitor.dashboards._panels import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Column,
    Style,
    bars,
    buckets,
    figure,
    graph,
    heatmap,
    now,
    query,
    states,
    table,
)
from hasten.monitor.dashboards._promql import (
    TOP,
    events,
    failing,
    gauge,
    increase,
    quantile,
    rate,
    select,
    share,
    top,
    top_failing,
)
from hasten.monitor.slo import Objective

_DURATION = catalogue.HTTP_SERVER_DURATION
_ROUTE = "http_request_method, http_route"
_ROUTE_LEGEND = "{{http_request_method}} {{http_route}}"
_WORKER, _WORKER_LEGEND = "instance, worker", "{{instance}} {{worker}}"
_OUTCOME = "breaker, outcome"
_POOL, _POOL_LEGEND = f"{_WORKER}, pool", f"{{{{pool}}}} {_WORKER_LEGEND}"
_STRAY = "kind, site"
_ENDPOINT = 'endpoint=~"$endpoint"'
_KINDS = (
    ("computing", "blue"),
    ("blocking", "dark-red"),
    ("preempted", "purple"),
    ("waiting", "green"),
    ("cache", "light-green"),
    ("held", "red"),
    ("queued", "yellow"),
    ("thread-queued", "orange"),
    ("thread", "light-blue"),
    ("collecting", "dark-purple"),
    ("unread", "light-orange"),
    ("unexplained", "gray"),
)
"""Red is what somebody has done wrong, green what others take, blue what the code itself needs."""


def service(objectives: Sequence[Objective]) -> Sheet:
    """Return the page of one service."""
    return Sheet(
        uid="hasten-service",
        title="hasten: service",
        description="One service: its routes, where their time goes, what holds its event loop, what it depends on.",
        rows=(
            _now(),
            *promises_row(objectives),
            _time(),
            _routes(objectives),
            _loop(),
            _beside(),
            _limits(),
            http_calls(),
            _dependencies(),
        ),
        variables=(service_variable(many=False), worker_variable(), endpoint_variable()),
    )


def _now() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    held = rate(catalogue.LOOP_BLOCKING_TIME)
    return Row(
        "Now",
        (
            figure(
                "Requests",
                "In a second.",
                query(events(_DURATION), "requests"),
                style=Style(width=4, height=4, unit="reqps"),
            ),
            figure(
                "Failing",
                "Share of requests that were answered with 5xx; the panel Answers says with which.",
                query(failing(_DURATION, FAILED_REQUESTS), "5xx"),
                style=Style(width=4, height=4, unit="percentunit", thresholds=((0.001, YELLOW), (0.01, RED))),
            ),
            figure(
                "p50",
                "Half of the requests are faster.",
                query(quantile(0.5, _DURATION), "p50"),
                style=Style(width=4, height=4, unit="s"),
            ),
            figure(
                "p99",
                "99 of 100 requests are faster.",
                query(quantile(0.99, _DURATION), "p99"),
                style=Style(width=4, height=4, unit="s"),
            ),
            figure(
                "In flight",
                "Requests that are not answered yet. Rises with the rate, or because something below has become slow.",
                query(gauge(catalogue.HTTP_SERVER_ACTIVE, of="sum"), "requests"),
                style=Style(width=4, height=4, unit="none"),
            ),
            figure(
                "Loop held",
                "Share of the time in which one piece of code held an event loop for 20 ms or more: every request "
                "waits for it. The panel Blocking sites names the line.",
                query(f"({held} or vector(0)) / count({select(catalogue.LOOP_TASKS)})", "held"),
                style=Style(width=4, height=4, unit="percentunit", thresholds=((0.01, YELLOW), (0.05, RED))),
            ),
        ),
    )


def _time() -> Row:
    requests = rate(catalogue.LEDGER_REQUESTS, _ENDPOINT)
    spent = rate(catalogue.LEDGER_SECONDS, _ENDPOINT, by="kind")
    by_endpoint = rate(catalogue.LEDGER_SECONDS, by="endpoint")
    spent_by = increase(catalogue.LEDGER_SECONDS, by="endpoint")
    counted = increase(catalogue.LEDGER_REQUESTS, by="endpoint")
    return Row(
        "Where the time goes, by the recorded requests",
        (
            graph(
                "Time of a request",
                "Mean seconds of a request of the chosen endpoints, by what they went to. blocking and held: code that "
                "blocks the event loop; queued: the loop is full; thread-queued: too few threads; waiting: others. "
                "`hasten doctor` finds the lines.",
                query(f"{spent} / on () group_left () ({requests} > 0)", "{{kind}}"),
                style=Style(unit="s", width=12, height=9, stacked=True, table=True, colours=_KINDS),
            ),
            bars(
                "Endpoints by time",
                "Seconds that the recorded requests of an endpoint take in a second: where a fix gains most.",
                now(f"topk({TOP}, {by_endpoint})", "{{endpoint}}"),
                style=Style(unit="s", width=6, height=9),
            ),
            table(
                "Recorded requests",
                "How many requests of each endpoint the ledger has recorded, and their mean time, over all of the time "
                "that is looked at. One in 20 is recorded if nothing else was asked for.",
                now(f"topk({TOP}, {counted})", form="table"),
                now(f"{spent_by} / ({counted} > 0) and on (endpoint) topk({TOP}, {counted})", form="table"),
                columns=(
                    Column("endpoint", "endpoint"),
                    Column("Value #A", "requests", "short"),
                    Column("Value #B", "mean", "s"),
                ),
                style=Style(width=6, height=9),
            ),
        ),
    )


def _routes(objectives: Sequence[Objective]) -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    lines = threshold_lines(objectives, _DURATION)
    half, slow = (quantile(which, _DURATION, by=_ROUTE) for which in (0.5, 0.99))
    return Row(
        "Routes, those that take most time",
        (
            graph(
                "p99",
                "99 of 100 requests of a route are faster; dots are single traces, dashed lines the objectives. What "
                "rises: see above what its time goes to.",
                query(top(slow, _DURATION, by=_ROUTE), _ROUTE_LEGEND, exemplars=True),
                *lines,
                style=Style(unit="s", table=True, height=10),
            ),
            graph(
                "p50",
                "Half of the requests of a route are faster. If it rises with p99, all requests have become slower; if "
                "only p99 does, some wait for something.",
                query(top(half, _DURATION, by=_ROUTE), _ROUTE_LEGEND, exemplars=True),
                style=Style(unit="s", table=True, height=10),
            ),
            graph(
                "Rate",
                "Requests in a second, by route. A route is empty where none matched.",
                query(top(events(_DURATION, by=_ROUTE), _DURATION, by=_ROUTE), _ROUTE_LEGEND),
                style=Style(unit="reqps", table=True, height=10),
            ),
            graph(
                "Answers",
                "In a second, by status. 499: the client has gone before it was answered.",
                query(events(_DURATION, by="http_response_status_code"), "{{http_response_status_code}}"),
                style=Style(unit="reqps", stacked=True),
            ),
            graph(
                "Errors",
                "Share of the requests that were answered with 5xx, for the routes that have most of them. The log of "
                "the service has the reason.",
                query(top_failing(_DURATION, FAILED_REQUESTS, by=_ROUTE), _ROUTE_LEGEND),
                style=Style(unit="percentunit", table=True, thresholds=((0.001, YELLOW), (0.01, RED))),
            ),
            heatmap(
                "Spread",
                "How many requests took how long. Two bands are two kinds of requests: hits and misses, or some that "
                "wait for something.",
                buckets(rate(_DURATION, by="le", suffix="_bucket")),
                style=Style(unit="s"),
            ),
        ),
    )


def _loop() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    lag, step, wait = catalogue.LOOP_LAG, catalogue.LOOP_STEP, catalogue.THREADPOOL_WAIT
    times, held = (increase(one, by="site") for one in (catalogue.LOOP_BLOCKING, catalogue.LOOP_BLOCKING_TIME))
    return Row(
        "The event loop",
        (
            graph(
                "Lag",
                "How late the loop calls a timer back: what every request waits each time it wants to go on. Above "
                "50 ms something blocks; see the sites beside.",
                query(top(quantile(0.99, lag, by=_WORKER), lag, by=_WORKER), f"p99 {_WORKER_LEGEND}"),
                query(quantile(0.5, lag), "p50, all"),
                style=Style(unit="s", thresholds=((0.05, ORANGE),)),
            ),
            graph(
                "Blocking sites",
                "Share of the time for which a line of code has held the loop. Move what blocks into a thread "
                "(a `ThreadPool`), make it async, or cut what computes into pieces.",
                query(
                    top(rate(catalogue.LOOP_BLOCKING_TIME, by="site"), catalogue.LOOP_BLOCKING_TIME, by="site"),
                    "{{site}}",
                ),
                style=Style(unit="percentunit", table=True),
            ),
            table(
                "Blocking sites, counted",
                "How often a line has held the loop for 20 ms or more, and for how long, over all of the time that is "
                "looked at.",
                now(f"{times} > 0 and on (site) topk({TOP}, {held})", form="table"),
                now(f"topk({TOP}, {held}) > 0", form="table"),
                columns=(
                    Column("site", "site"),
                    Column("Value #A", "times", "short"),
                    Column("Value #B", "held", "s"),
                ),
            ),
            graph(
                "Held now",
                "For how long the loop has not called back. While it rises nothing is answered: /livez of the admin "
                "port names the line.",
                query(
                    top(gauge(catalogue.LOOP_BLOCKED, by=_WORKER), catalogue.LOOP_BLOCKED, by=_WORKER), _WORKER_LEGEND
                ),
                style=Style(unit="s", thresholds=((1.0, RED),)),
            ),
            graph(
                "Steps, p99",
                "How long one step of a recorded request keeps the loop. Above 5 ms others notice: compute elsewhere.",
                query(top(quantile(0.99, step, by=_WORKER), step, by=_WORKER), _WORKER_LEGEND),
                style=Style(unit="s", thresholds=((0.005, ORANGE),)),
            ),
            graph(
                "Wait for a thread, p99",
                "Until a thread takes a function, in recorded requests. If it rises, more `def` endpoints or "
                "`to_thread` calls run than there are threads: see Threads on the runtime page.",
                query(top(quantile(0.99, wait, by=_WORKER), wait, by=_WORKER), _WORKER_LEGEND),
                style=Style(unit="s", thresholds=((0.01, ORANGE),)),
            ),
        ),
    )


def _beside() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    wait, run, strays = catalogue.THREADPOOL_QUEUE_DURATION, catalogue.THREADPOOL_RUN_DURATION, catalogue.STRAYS
    return Row(
        "Beside the event loop",
        (
            graph(
                "Wait for a pool's thread, p99",
                "Until a thread of a `ThreadPool` takes a function, or its caller gives up. If it rises, so does what "
                "stands beside, and what is behind the pool has become slow; or the pool is too small.",
                query(top(quantile(0.99, wait, by="pool"), wait, by="pool"), "{{pool}}"),
                style=Style(unit="s", table=True, thresholds=((0.01, ORANGE),)),
            ),
            graph(
                "Time in a pool's thread, p99",
                "For how long a function keeps one. A thread cannot be stopped: give the library behind it a timeout "
                "that is shorter than the requests' deadline.",
                query(top(quantile(0.99, run, by="pool"), run, by="pool"), "{{pool}}"),
                style=Style(unit="s", table=True),
            ),
            graph(
                "Calls of thread pools",
                "In a second, by outcome. refused: all threads were busy and the queue was full; left, expired: the "
                "caller waited for a thread in vain; abandoned: the function ended when its caller had gone.",
                query(rate(catalogue.THREADPOOL_CALLS, by="pool, outcome"), "{{pool}} {{outcome}}"),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Background tasks",
                "Under way, of all processes. A line that only rises: they wait for what never comes, or more are "
                "begun than can be done.",
                query(gauge(catalogue.BACKGROUND_TASKS, by="background", of="sum"), "{{background}}"),
                style=Style(),
            ),
            graph(
                "Background tasks, ended",
                "In a second. failed: the log has the error; refused: as many as may be were under way.",
                query(rate(catalogue.BACKGROUND_ENDED, by="background, outcome"), "{{background}} {{outcome}}"),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Strays",
                "Tasks and coroutines in a second that nobody looks after, by kind and line: their errors are seen by "
                "nobody, or they vanish before they have ended. Await them, or give them to a `Background`; the log "
                "has the first of each line.",
                query(top(rate(strays, by=_STRAY), strays, by=_STRAY), "{{kind}} {{site}}"),
                style=Style(unit="cps", table=True, thresholds=((0.001, ORANGE),)),
            ),
        ),
    )


def _limits() -> Row:
    requests = catalogue.LIMITER_REQUESTS
    by = "limiter, priority"
    return Row(
        "What it has room for",
        (
            graph(
                "Under way, and the limit",
                "Requests that limiters have admitted, of all processes, and how many may be: as many as keep the "
                "service busy, and hardly any that wait. A limit that falls says that answers take longer.",
                query(gauge(catalogue.LIMITER_IN_FLIGHT, by="limiter", of="sum"), "{{limiter}} under way"),
                query(gauge(catalogue.LIMITER_LIMIT, by="limiter", of="sum"), "{{limiter}} limit"),
                style=Style(),
            ),
            graph(
                "Refused",
                "In a second, by priority: more comes than the service can do in time. What it has admitted is "
                "answered as quickly as ever; add instances, or find what has made an answer cost more.",
                query(rate(requests, 'outcome="refused"', by=by), "{{limiter}} {{priority}}"),
                style=Style(unit="reqps", table=True),
            ),
            graph(
                "Admitted",
                "In a second, by priority. Where the low ones get less and less, the high ones have found room.",
                query(rate(requests, 'outcome="admitted"', by=by), "{{limiter}} {{priority}}"),
                style=Style(unit="reqps", table=True),
            ),
        ),
    )


def _dependencies() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    calls = catalogue.BREAKER_CALLS
    used = gauge(catalogue.POOL_CONNECTIONS, 'state="used"', by=_POOL)
    limit = gauge(catalogue.POOL_CONNECTIONS, 'state="limit"', by=_POOL)
    return Row(
        "What it depends on",
        (
            states(
                "Breakers",
                "Red while a dependency is not asked, because it has failed. Mend the dependency; the breaker closes "
                "by itself when a probe is answered.",
                query(gauge(catalogue.BREAKER_STATE, by="breaker"), "{{breaker}}"),
                names={"0": ("closed", GREEN), "1": ("probing", ORANGE), "2": ("open", RED)},
            ),
            graph(
                "Calls behind breakers",
                "In a second, by outcome: failures and timeouts open a breaker, refused ones were not even tried.",
                query(top(rate(calls, by=_OUTCOME), calls, by=_OUTCOME), "{{breaker}} {{outcome}}"),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Breakers opened",
                "Times in the last 5 minutes. Again and again: the dependency answers probes, and fails under load.",
                query(f"sum by (breaker) (increase({select(catalogue.BREAKER_OPENED)}[5m]))", "{{breaker}}"),
                style=Style(),
            ),
            graph(
                "Pools used",
                "Share of a pool's connections that somebody has. At 1 callers wait: find what holds one for long (a "
                "transaction around a call to others, for example) before you make the pool larger.",
                query(top(share(used, limit), catalogue.POOL_CONNECTIONS, 'state="used"', by=_POOL), _POOL_LEGEND),
                style=Style(unit="percentunit", most=1.0, thresholds=((0.9, RED),)),
            ),
            graph(
                "Waiting for a pool",
                "Callers that wait for a connection.",
                query(gauge(catalogue.POOL_WAITING, by="pool", of="sum"), "{{pool}}"),
                style=Style(thresholds=((1, RED),)),
            ),
            states(
                "Checks",
                "What should hold in each process. /readyz of its admin port says why it does not, and whether the "
                "process is ready all the same.",
                query(gauge(catalogue.CHECK, by="check", of="min"), "{{check}}"),
                names={"0": ("does not hold", RED), "1": ("holds", GREEN)},
            ),
        ),
    )

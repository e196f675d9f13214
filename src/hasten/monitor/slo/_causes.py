"""Alerts for what makes a service slow or wrong, whether or not an objective suffers yet.

Burn alerts say that users suffer; these say why. So nearly all are tickets: only a service that is gone, a loop that
stands still and a consumer that is stuck page by themselves, since no objective may notice.

Each alert's section in docs/reference/alerts.md says what it means, how to look, and what to do.
"""

from collections.abc import Callable, Iterable
from typing import Any

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import Metric
from hasten.monitor.slo._alert import Alert
from hasten.monitor.slo._promql import bound_matcher, quoted
from hasten.monitor.slo._windows import Severity, Timing, promql_duration

Of = Callable[..., str]
"""Selects a metric's series of all services: `of(metric, 'state="used"', "_sum")`."""
Over = Callable[[float], str]
"""Writes seconds as PromQL does."""
_UP = Metric(name="up", kind="gauge", help="Prometheus' own: whether the last scrape has worked")
_OF_PROCESS = "job, instance, worker"
_OF_GROUP = "job, messaging_destination_name, messaging_consumer_group_name"
_SITE_QUERY = f"topk(1, {catalogue.LOOP_BLOCKING_TIME.name}{{job='%s',instance='%s'}})"


class _Words(dict[str, str]):
    """What stands in braces in a summary or a description; any other word is the label of that name."""

    def __missing__(self, label: str) -> str:
        return f"{{{{ $labels.{label} }}}}"


_WORDS = _Words(
    who="{{ $labels.job }} ({{ $labels.instance }})",
    group="{{ $labels.messaging_consumer_group_name }} on {{ $labels.messaging_destination_name }}",
    worst_site=f'{{{{ with printf "{_SITE_QUERY}" $labels.job $labels.instance | query }}}}'
    '{{ . | first | label "site" }}{{ else }}not seen yet{{ end }}',
    value="{{ $value }}",
    whole='{{ $value | printf "%.0f" }}',
    short='{{ $value | printf "%.1f" }}',
    percent="{{ $value | humanizePercentage }}",
    time="{{ $value | humanizeDuration }}",
)


def cause_groups(services: Iterable[str], timing: Timing, runbooks: str) -> list[dict[str, Any]]:
    """Return the groups of a rule file for services, by their names; none without any.

    Args:
      runbooks: Address of docs/reference/alerts.md.
    """
    names = list(services)
    if not names:
        return []
    of, over = _of(names), timing.wait
    groups = {
        "services": [*_absent(names, over), *_services(of, over)],
        "event loop": _loop(of, over),
        "threads and connections": _pools(of, over),
        "messages": _messages(of, over),
        "caches": _caches(of, over),
    }
    interval = promql_duration(timing.interval)
    return [
        {"name": f"causes {name}", "interval": interval, "rules": [alert.rule(runbooks) for alert in alerts]}
        for name, alerts in groups.items()
    ]


def _of(services: list[str]) -> Of:
    jobs = quoted("|".join(name.replace(".", r"\.") for name in services))

    def of(metric: Metric, matchers: str = "", suffix: str = "") -> str:
        return f"{metric.name}{suffix}{{job=~{jobs}{',' if matchers else ''}{matchers}}}"

    return of


def _cause(
    name: str, expr: str, *, wait: str = "", severity: Severity = "ticket", summary: str, description: str
) -> Alert:
    """Return an alert whose series have the service in their label `job`.

    Args:
      summary, description: With words of `_WORDS` and names of labels in braces.
    """
    return Alert(
        name=name,
        expr=expr,
        wait=wait,
        severity=severity,
        labels={"service": "{{ $labels.job }}"},
        summary=summary.format_map(_WORDS),
        description=description.format_map(_WORDS),
    )


# ---- services


def _absent(services: list[str], over: Over) -> list[Alert]:
    """Return an alert for each service: one that has no series at all is found in none."""
    return [
        Alert(
            name="ServiceAbsent",
            expr=f"(count(up{{job={quoted(name)}}} == 0) or vector(0))\nunless on()\nsum(up{{job={quoted(name)}}}) > 0",
            wait=over(120.0),
            severity="page",
            labels={"service": name},
            summary=f"{name}: none of its {{{{ $value }}}} known instances answers Prometheus",
            description="All are gone, or cannot be reached; with 0, Prometheus knows no address of it.",
        )
        for name in services
    ]


def _services(of: Of, over: Over) -> list[Alert]:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    files, most = of(catalogue.PROCESS_FILES), of(catalogue.PROCESS_MOST_FILES)
    ready = of(catalogue.CHECK, 'check!~"consumer .*",required="true"')
    other = of(catalogue.CHECK, 'check!~"consumer .*",required="false"')
    return [
        _cause(
            "InstanceDown",
            f"{of(_UP)} == 0",
            wait=over(300.0),
            summary="{who} does not answer Prometheus",
            description="It is gone, cannot be reached, or refuses the token.",
        ),
        _cause(
            "NotReady",
            f"{ready} == 0",
            wait=over(300.0),
            summary="{who} is not ready: {check}",
            description="It gets no requests. /readyz says why.",
        ),
        _cause(
            "CheckFails",
            f"{other} == 0",
            wait=over(300.0),
            summary="{who} works without {check}, which should be there",
            description="It still gets requests; what it does without this is put off. /readyz says why.",
        ),
        _cause(
            "RestartLoop",
            f"changes({of(catalogue.PROCESS_START)}[{over(900.0)}]) > 2",
            summary="{who} was started {value} times within 15 minutes",
            description="It ends soon after each start: it crashes, or is killed for its memory or its health.",
        ),
        _cause(
            "FileDescriptorsNearlyUsed",
            f"{files}\n/\n{most}\n> 0.9",
            wait=over(300.0),
            summary="{who} has {percent} of its file descriptors open",
            description="Without any left it accepts no connection and opens none.",
        ),
        _cause(
            "MetricsFolded",
            f"sum by (job, metric) ({of(catalogue.FOLDED)}) > 0",
            summary="{job}: {value} observations of {metric} were counted under _other",
            description="It has as many label sets as it may; dashboards and objectives do not see what is there.",
        ),
    ]


# ---- the event loop


def _loop(of: Of, over: Over) -> list[Alert]:
    lag = f"sum by ({_OF_PROCESS}, le) (rate({of(catalogue.LOOP_LAG, suffix='_bucket')}[{over(300.0)}]))"
    blocking = f"rate({of(catalogue.LOOP_BLOCKING_TIME)}[{over(300.0)}])"
    return [
        _cause(
            "LoopBlocked",
            f"max_over_time({of(catalogue.LOOP_BLOCKED)}[{over(60.0)}]) > 5",
            severity="page",
            summary="{who}: the event loop has stood still for {time}",
            description="It answers nothing meanwhile. /livez says what holds it; most of all so far: {worst_site}.",
        ),
        _cause(
            "LoopBlocking",
            f"sum by ({_OF_PROCESS}, site) ({blocking}) > 0.05",
            wait=over(300.0),
            summary="{who}: {site} blocks the event loop for {percent} of the time",
            description="Every request waits for it. Make it asynchronous, or call it in a thread.",
        ),
        _cause(
            "LoopLag",
            f"histogram_quantile(0.99, {lag}) > 0.05",
            wait=over(600.0),
            summary="{who}: the event loop is {time} late in one of 100 cases",
            description="Too much runs on it, or something blocks it: {worst_site}.",
        ),
        *_collections(of, over),
    ]


def _collections(of: Of, over: Over) -> list[Alert]:
    paused = f"rate({of(catalogue.GC_PAUSE, suffix='_sum')}[{over(300.0)}])"
    all_of_them = f"increase({of(catalogue.GC_PAUSE, suffix='_count')}[{over(600.0)}])"
    short = f"increase({of(catalogue.GC_PAUSE, bound_matcher(0.1), '_bucket')}[{over(600.0)}])"
    long = f"sum by ({_OF_PROCESS}) ({all_of_them})\n-\nsum by ({_OF_PROCESS}) ({short})"
    return [
        _cause(
            "GCTime",
            f"sum by ({_OF_PROCESS}) ({paused}) > 0.05",
            wait=over(600.0),
            summary="{who}: garbage collection takes {percent} of the time",
            description="All threads that run Python stand still meanwhile.",
        ),
        _cause(
            "GCPauses",
            f"{long}\n> 5",
            summary="{who}: {whole} garbage collections took 100 ms or more within 10 minutes",
            description="Each is a pause for all requests: many long-lived objects are looked at again and again.",
        ),
    ]


# ---- threads and connections


def _pools(of: Of, over: Over) -> list[Alert]:
    busy, threads = (of(catalogue.THREADPOOL_THREADS, f'state="{state}"') for state in ("busy", "limit"))
    used, connections = (of(catalogue.POOL_CONNECTIONS, f'state="{state}"') for state in ("used", "limit"))
    queued = f"{of(catalogue.THREADPOOL_QUEUED)} > 0"
    waiting = f"and on ({_OF_PROCESS}, pool)\n{queued}"
    return [
        _cause(
            "ThreadPoolExhausted",
            f"{busy}\n>= ignoring (state)\n({threads} > 0)\n{waiting}",
            wait=over(120.0),
            summary="{who}: all {value} threads of {pool} are busy, and calls wait for one",
            description="FastAPI runs def endpoints, and asyncio.to_thread its functions, in such threads.",
        ),
        _cause(
            "PoolExhausted",
            f"{used}\n>= ignoring (state)\n({connections} > 0)",
            wait=over(120.0),
            summary="{who}: all {value} connections of {pool} are used",
            description="Whoever needs one waits. They are held too long, or too few.",
        ),
        _cause(
            "BreakerOpen",
            f"max by ({_OF_PROCESS}, breaker) ({of(catalogue.BREAKER_STATE)}) > 0",
            wait=over(60.0),
            summary="{who}: the breaker {breaker} is open",
            description="What is behind it fails or is too slow, and is asked no more but now and then.",
        ),
    ]


# ---- messages


def _messages(of: Of, over: Over) -> list[Alert]:
    consumers = of(catalogue.CHECK, 'check=~"consumer .*"')
    return [
        _cause(
            "ConsumerStuck",
            f"{consumers} == 0",
            wait=over(120.0),
            severity="page",
            summary="{who}: {check} is stuck",
            description="No handler of it has ended for a while. /readyz says more.",
        ),
        _lag_growing(of, over),
        _dead_letters(of, over),
        _cause(
            "OutboxBehind",
            f"max by (job, table) ({of(catalogue.OUTBOX_OLDEST)}) > 60",
            wait=over(300.0),
            summary="{job}: a message has waited in {table} for {time}",
            description="What was committed is not published: the relay does not run, or the broker does not take it.",
        ),
        _cause(
            "OutboxRefused",
            f"max by (job, table) ({of(catalogue.OUTBOX_REFUSED)}) > 0",
            wait=over(60.0),
            summary="{job}: the broker refuses {value} messages of {table}",
            description="They are tried again for ever, and will be refused until somebody mends them or the broker.",
        ),
    ]


def _lag_growing(of: Of, over: Over) -> Alert:
    lag = of(catalogue.CONSUMER_LAG)
    now = f"max by ({_OF_GROUP}) ({lag})"
    grown = f"max by ({_OF_GROUP}) (delta({lag}[{over(900.0)}]))"
    return _cause(
        "ConsumerLagGrowing",
        f"{now} > 100\nand\n{grown} > 0.1 * {now}",
        wait=over(900.0),
        summary="{job}: {value} messages wait for {group}, and they grow more",
        description="It handles fewer than are published: it is too slow, or has too few processes.",
    )


def _dead_letters(of: Of, over: Over) -> Alert:
    """Return the alert for new dead letters.

    The first one of a series is no increase for Prometheus, so a series that was not there before counts, too, unless
    Prometheus itself has not been there before.
    """
    buried = of(catalogue.DEAD_LETTERS)
    by = f"sum by ({_OF_GROUP}, cause)"
    grown = f"{by} (increase({buried}[{over(900.0)}])) > 0"
    scraped = f"sum by (job) ({of(_UP)} offset {over(900.0)}) > 0"
    appeared = f"({by} ({buried}) unless {by} ({buried} offset {over(900.0)})) > 0\nand on (job)\n{scraped}"
    return _cause(
        "DeadLettersGrowing",
        f"{grown}\nor\n{appeared}",
        summary="{job}: {whole} messages for {group} were buried ({cause}) within 15 minutes",
        description="They are kept, and nobody handles them until they are replayed.",
    )


# ---- caches


def _caches(of: Of, over: Over) -> list[Alert]:
    return [
        _cause(
            "CacheSecondTierFailing",
            f"sum by (job, cache) (rate({of(catalogue.CACHE_SECOND_FAILURES)}[{over(300.0)}])) > 0.1",
            wait=over(300.0),
            summary="{job}: the second tier of the cache {cache} fails {short} times a second",
            description="What memory has not is loaded from where it comes from: that gets all the load.",
        ),
        _cause(
            "CacheNotTrusted",
            f"{of(catalogue.CACHE_TRUSTED)} == 0",
            wait=over(120.0),
            summary="{who}: the cache {cache} does not hear what other processes make invalid",
            description="Its memory is not believed meanwhile, so each lookup asks the second tier or loads.",
        ),
        _cause(
            "CacheInvalidationsPending",
            f"{of(catalogue.CACHE_PENDING)} > 0",
            wait=over(300.0),
            summary="{who}: {value} invalidations of the cache {cache} are not delivered",
            description="Other processes may serve what is not true any more, until it expires.",
        ),
        _hit_ratio(of, over),
    ]


def _hit_ratio(of: Of, over: Over) -> Alert:
    """Return the alert for a share of hits that is less than half of what it was in the hours before.

    Only where there is more than one lookup a second now, and most of them were hits: little traffic has any ratio.
    """
    by = "sum by (job, cache, region)"

    def rate(window: str, matchers: str = "") -> str:
        return f"{by} (rate({of(catalogue.CACHE_REQUESTS, matchers)}{window}))"

    def ratio(window: str) -> str:
        hits = rate(window, 'result!="miss"')
        return f"({hits} / ({rate(window)} > 0))"

    now, before = f"[{over(600.0)}]", f"[{over(21600.0)}] offset {over(1200.0)}"
    return _cause(
        "CacheHitRatioCollapsed",
        f"{ratio(now)}\n<\n0.5 * ({ratio(before)} > 0.5)\nand\n{rate(now)} > 1",
        wait=over(900.0),
        summary="{job}: only {percent} of the lookups in {cache} ({region}) are hits now, less than half of before",
        description="All others are loaded: keys or lifetimes have changed, it is too small, or is emptied often.",
    )

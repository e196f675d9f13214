"""Caches: what they spare, how old what they serve is, and how their second tier does."""

from hasten.monitor import _catalogue as catalogue
from hasten.monitor.dashboards._dashboard import Row, Sheet, service_variable, worker_variable
from hasten.monitor.dashboards._panels import GREEN, ORANGE, RED, Style, graph, query, states
from hasten.monitor.dashboards._promql import gauge, quantile, rate, share, top, top_failing

_REGION, _REGION_LEGEND = "cache, region", "{{cache}} {{region}}"
_CACHE, _CACHE_LEGEND = "job, cache", "{{job}} {{cache}}"
_RESULTS = (("hit", "green"), ("stale", "yellow"), ("miss", "red"))


def caches() -> Sheet:
    """Return the page of caches."""
    return Sheet(
        uid="hasten-caches",
        title="hasten: caches",
        description="Hits, loads, staleness, memory and second tiers of all caches.",
        rows=(_lookups(), _loads(), _memory(), _second()),
        variables=(service_variable(many=True), worker_variable()),
    )


def _lookups() -> Row:
    metric = catalogue.CACHE_REQUESTS
    served = share(rate(metric, 'result=~"hit|stale"', by=_REGION), rate(metric, by=_REGION))
    return Row(
        "Lookups",
        (
            graph(
                "Hit ratio",
                "Share of the lookups that memory has answered, by region. A fall: values end together, keys have "
                "become more, or the memory is not trusted.",
                query(top(served, metric, by=_REGION), _REGION_LEGEND),
                style=Style(unit="percentunit", most=1.0, table=True),
            ),
            graph(
                "Lookups",
                "In a second: hit, stale (served while it is renewed), miss.",
                query(rate(metric, by="result"), "{{result}}"),
                style=Style(unit="cps", stacked=True, colours=_RESULTS),
            ),
            graph(
                "Staleness",
                "The oldest value that was served: for how long it was not fresh any more. It is what `stale` and "
                "`stale_if_error` allow; long ones mean that loading fails.",
                query(_oldest(), _REGION_LEGEND),
                style=Style(unit="s", table=True),
            ),
        ),
    )


def _oldest() -> str:
    return top(gauge(catalogue.CACHE_STALENESS, by=_REGION), catalogue.CACHE_STALENESS, by=_REGION)


def _loads() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    loads, duration = catalogue.CACHE_LOADS, catalogue.CACHE_LOAD_DURATION
    by = f"{_REGION}, source"
    return Row(
        "What answers a miss",
        (
            graph(
                "Loads",
                "In a second, by where the value came from: the second tier, or the loader.",
                query(top(rate(loads, by=by), loads, by=by), f"{_REGION_LEGEND} {{{{source}}}}"),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Load, p99",
                "Until the value was there. A loader that has become slow is felt by every miss: `stale` hides it.",
                query(
                    top(quantile(0.99, duration, by=by), duration, by=by),
                    f"{_REGION_LEGEND} {{{{source}}}}",
                    exemplars=True,
                ),
                style=Style(unit="s", table=True),
            ),
            graph(
                "Failed loads",
                "Share of the loads. Callers get the error, or an old value where `stale_if_error` allows it.",
                query(top_failing(loads, 'result="error"', by=_REGION), _REGION_LEGEND),
                style=Style(unit="percentunit", table=True, thresholds=((0.01, RED),)),
            ),
            graph(
                "Joined",
                "Misses in a second that waited for the load of another: loads that single-flight has spared.",
                query(top(rate(catalogue.CACHE_JOINS, by=_REGION), catalogue.CACHE_JOINS, by=_REGION), _REGION_LEGEND),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Stale for an error",
                "Old values in a second that were served because loading failed or took too long. Mend the source: "
                "they end with `stale_if_error`.",
                query(
                    top(rate(catalogue.CACHE_STALE_ON_ERROR, by=_REGION), catalogue.CACHE_STALE_ON_ERROR, by=_REGION),
                    _REGION_LEGEND,
                ),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Overtaken",
                "Loads in a second whose value was not kept, since an invalidation came meanwhile. Many: values change "
                "faster than they load.",
                query(
                    top(rate(catalogue.CACHE_OVERTAKEN, by=_REGION), catalogue.CACHE_OVERTAKEN, by=_REGION),
                    _REGION_LEGEND,
                ),
                style=Style(unit="cps", table=True),
            ),
        ),
    )


def _memory() -> Row:
    return Row(
        "Memory",
        (
            graph(
                "Values",
                "In memory, of all workers together.",
                query(gauge(catalogue.CACHE_ENTRIES, by=_CACHE, of="sum"), _CACHE_LEGEND),
            ),
            graph(
                "Size",
                "Of the values, of all workers together, where a cache has a bound in bytes.",
                query(gauge(catalogue.CACHE_SIZE, by=_CACHE, of="sum"), _CACHE_LEGEND),
                style=Style(unit="bytes"),
            ),
            graph(
                "Evictions",
                "Values in a second that had to make room. With a falling hit ratio: raise `max_entries`.",
                query(rate(catalogue.CACHE_EVICTIONS, by=_CACHE), _CACHE_LEGEND),
                style=Style(unit="cps"),
            ),
        ),
    )


def _second() -> Row:
    return Row(
        "Second tier and other processes",
        (
            graph(
                "Failures",
                "Of the second tier in a second, timeouts included. Its breaker spares requests the waiting: see "
                "Breakers on the service's page. Look at Redis or Memcached, or the network.",
                query(rate(catalogue.CACHE_SECOND_FAILURES, by=_CACHE), _CACHE_LEGEND),
                style=Style(unit="cps", thresholds=((0.1, ORANGE), (1, RED))),
            ),
            graph(
                "Pending invalidations",
                "That the second tier or the other processes have not got yet. While there are some, others may serve "
                "what was invalidated. They are told again by themselves when the second tier is back.",
                query(gauge(catalogue.CACHE_PENDING, by=_CACHE, of="sum"), _CACHE_LEGEND),
                style=Style(thresholds=((1, RED),)),
            ),
            states(
                "Memory trusted",
                "Red while a process does not hear what others make invalid: it asks the second tier, or loads, for "
                "everything. Look at the backplane's connection.",
                query(
                    gauge(catalogue.CACHE_TRUSTED, by="job, cache, worker", of="min"), "{{job}} {{cache}} {{worker}}"
                ),
                names={"0": ("not trusted", RED), "1": ("trusted", GREEN)},
            ),
        ),
    )

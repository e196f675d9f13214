"""Other names for what is recorded already, so that dashboards of other libraries go on to work.

`aliases="instrumentator"` adds the names of prometheus-fastapi-instrumentator (8.1, its default metrics and
`http_requests_inprogress`), derived from our own request series when somebody reads. It has two more that are not
recorded here, the sizes: `http_request_size_bytes` and `http_response_size_bytes`.

docs/how-to/move-from-prometheus-fastapi-instrumentator.md says what is counted otherwise.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import OTHER, Metric
from hasten.monitor._snapshot import Family, HistogramValue, Series

_LOW_BOUNDS = (0.1, 0.5, 1.0)
_UNTEMPLATED = "none"

TOTAL = Metric(
    name="http_requests_total",
    kind="counter",
    labels=("method", "status", "handler"),
    most=1000,
    help="Alias of http_server_request_duration_seconds_count: requests by method, class of status, and route",
)
DURATION = Metric(
    name="http_request_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("method", "handler"),
    bounds=_LOW_BOUNDS,
    most=1000,
    help="Alias of http_server_request_duration_seconds: few buckets, by method and route",
)
HIGHR = Metric(
    name="http_request_duration_highr_seconds",
    kind="histogram",
    unit="seconds",
    bounds=catalogue.REQUEST_BOUNDS,
    help="Alias of http_server_request_duration_seconds: all buckets, of all requests together",
)
IN_PROGRESS = Metric(
    name="http_requests_inprogress", kind="gauge", help="Alias of http_server_active_requests: requests in progress"
)
INSTRUMENTATOR: tuple[Metric, ...] = (TOTAL, DURATION, HIGHR, IN_PROGRESS)
"""The metrics that `instrumentator` adds."""


def instrumentator(families: Iterable[Family]) -> tuple[Family, ...]:
    """Return the families that prometheus-fastapi-instrumentator would have."""
    found = {family.metric.name: family for family in families}
    requests = found[catalogue.HTTP_SERVER_DURATION.name]
    active = found[catalogue.HTTP_SERVER_ACTIVE.name]
    return (
        Family(TOTAL, tuple(_totals(requests))),
        _regrouped(DURATION, requests, lambda values: (values[0], values[1] or _UNTEMPLATED)),
        _regrouped(_with_bounds_of(requests.metric), requests, lambda _: ()),
        Family(IN_PROGRESS, active.series),
    )


def _with_bounds_of(metric: Metric) -> Metric:
    """Return the metric of many buckets with those that are recorded; an objective may have added some."""
    return Metric(name=HIGHR.name, kind=HIGHR.kind, unit=HIGHR.unit, bounds=metric.bounds, help=HIGHR.help)


def _totals(requests: Family) -> list[Series]:
    counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for series in requests.series:
        method, route, status = series.values
        assert isinstance(series.value, HistogramValue)
        counts[method, _class_of(status), route or _UNTEMPLATED] += series.value.count
    return [Series(values, count) for values, count in counts.items()]


def _class_of(status: str) -> str:
    return OTHER if status == OTHER else f"{status[:1]}xx"


def _regrouped(metric: Metric, requests: Family, key: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Family:
    """Return the requests' histogram with fewer labels, and with buckets that it has among others."""
    bounds = requests.metric.bounds
    # Which of the metric's buckets each recorded one belongs to; every bound of the metric is a recorded one.
    places = [bisect_left(metric.bounds, bound) for bound in (*bounds, float("inf"))]
    counts: dict[tuple[str, ...], list[int]] = {}
    totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for series in requests.series:
        values, value = key(series.values), series.value
        assert isinstance(value, HistogramValue)
        counted = counts.setdefault(values, [0] * (len(metric.bounds) + 1))
        for place, count in zip(places, value.counts, strict=True):
            counted[place] += count
        totals[values] += value.total
    merged = (Series(values, HistogramValue(tuple(found), totals[values])) for values, found in counts.items())
    return Family(metric, tuple(merged))

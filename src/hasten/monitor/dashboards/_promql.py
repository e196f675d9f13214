"""Queries over the metrics of the catalogue, for the service and the workers that a dashboard has chosen.

Every expression is one of PromQL with Grafana's variables in it. Those that may find many series keep to the `TOP`
of most weight in the whole time that is looked at: a graph has the same few lines from its left to its right, where
a mere topk() has others at each point.
"""

from hasten.monitor._metric import Metric

TOP = 10
"""Series in a graph of what may have any number: routes, methods, topics, regions, sites."""
CHOSEN = 'job=~"$job", worker=~"$worker"'
_WINDOW = "$__rate_interval"
_ALL_OF_IT = "$__range"


def select(metric: Metric, *matchers: str, suffix: str = "") -> str:
    """Return the series of a metric.

    Args:
      matchers: Further ones: `result="hit"`.
      suffix: `_bucket`, `_sum` or `_count` of a histogram.
    """
    return f"{metric.name}{suffix}{{{', '.join((CHOSEN, *matchers))}}}"


def rate(metric: Metric, *matchers: str, by: str = "", suffix: str = "") -> str:
    """Return how much a counter grows in a second, summed by labels: `job, worker`."""
    return f"sum{_by(by)} (rate({select(metric, *matchers, suffix=suffix)}[{_WINDOW}]))"


def events(metric: Metric, *matchers: str, by: str = "") -> str:
    """Return how many values a histogram gets in a second."""
    return rate(metric, *matchers, by=by, suffix="_count")


def share(part: str, whole: str) -> str:
    """Return part / whole, both by the same labels: 0 where there is no series of the part, and nothing without any."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def failing(metric: Metric, *failures: str, by: str = "") -> str:
    """Return the share of a histogram's events that the matchers `failures` say have failed."""
    return share(events(metric, *failures, by=by), events(metric, by=by))


def quantile(which: float, metric: Metric, *matchers: str, by: str = "") -> str:
    """Return a quantile of a histogram, `by` its labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({which}, {rate(metric, *matchers, by=labels, suffix='_bucket')})"


def gauge(metric: Metric, *matchers: str, by: str = "", of: str = "max") -> str:
    """Return a gauge, aggregated by labels."""
    return f"{of}{_by(by)} ({select(metric, *matchers)})"


def increase(metric: Metric, *matchers: str, by: str = "", suffix: str = "") -> str:
    """Return how much a counter has grown over all of the time that is looked at."""
    return f"sum{_by(by)} (increase({select(metric, *matchers, suffix=suffix)}[{_ALL_OF_IT}]))"


def top(expression: str, metric: Metric, *matchers: str, by: str) -> str:
    """Return an expression for the `TOP` label sets of a metric that matter most in the whole time that is looked at.

    Of a counter those that have grown most, of a histogram those whose values are most in sum, of a gauge those that
    were highest at any time.

    Args:
      expression: It has the labels `by`, and may have more.
    """
    if metric.kind == "gauge":
        ranked = f"max by ({by}) (max_over_time({select(metric, *matchers)}[{_ALL_OF_IT}] @ end()))"
    else:
        ranked = _grown(metric, *matchers, by=by, suffix="_sum" if metric.kind == "histogram" else "")
    return f"{expression} and on ({by}) topk({TOP}, {ranked})"


def top_failing(metric: Metric, *failures: str, by: str) -> str:
    """Return the share of failures for the `TOP` label sets that have most of them; others fill up the number."""
    suffix = "_count" if metric.kind == "histogram" else ""
    part, whole = rate(metric, *failures, by=by, suffix=suffix), rate(metric, by=by, suffix=suffix)
    ranked = f"{_grown(metric, *failures, by=by, suffix=suffix)} or 0 * {_grown(metric, by=by, suffix=suffix)}"
    return f"{share(part, whole)} and on ({by}) topk({TOP}, {ranked})"


def _grown(metric: Metric, *matchers: str, by: str, suffix: str) -> str:
    selected = select(metric, *matchers, suffix=suffix)
    return f"sum by ({by}) (increase({selected}[{_ALL_OF_IT}] @ end()))"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""

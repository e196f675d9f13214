"""HTTP calls that a service makes: a row of its page."""

from hasten.monitor import _catalogue as catalogue
from hasten.monitor.dashboards._dashboard import Row
from hasten.monitor.dashboards._panels import ORANGE, RED, YELLOW, Style, graph, query
from hasten.monitor.dashboards._promql import events, quantile, rate, share, top, top_failing

_CALLS = catalogue.HTTP_CLIENT_DURATION
_HOST, _HOST_LEGEND = "server_address, server_port", "{{server_address}}:{{server_port}}"
_END, _END_LEGEND = "http_response_status_code, error_type", "{{http_response_status_code}} {{error_type}}"
_FAILED = 'error_type!~"|4..|CancelledError"'
"""Not those that the caller has made wrong, or has given up."""


def http_calls() -> Row:
    """Return the row of the calls that `hasten.http.client` makes."""
    # Over 40 lines because it is a table, each entry of which stands by itself.
    attempts = catalogue.HTTP_CLIENT_ATTEMPTS
    slow, half = (top(quantile(which, _CALLS, by=_HOST), _CALLS, by=_HOST) for which in (0.99, 0.5))
    ends = events(_CALLS, by=_END)
    first = rate(attempts, 'attempt="first"', by=_HOST)
    again = rate(attempts, 'attempt=~"retry|hedge"', by=_HOST)
    return Row(
        "HTTP calls that it makes",
        (
            graph(
                "p99",
                "99 of 100 calls to a host end faster, retries among them; dots are single traces. Slower than the "
                "host says of itself: calls wait for a connection (see Waiting for a pool), or are made again.",
                query(slow, _HOST_LEGEND, exemplars=True),
                style=Style(unit="s", table=True),
            ),
            graph(
                "Errors",
                "Share of the calls to a host that ended with 5xx or without an answer, when all attempts were made.",
                query(top_failing(_CALLS, _FAILED, by=_HOST), _HOST_LEGEND),
                style=Style(unit="percentunit", table=True, thresholds=((0.001, YELLOW), (0.01, ORANGE), (0.1, RED))),
            ),
            graph(
                "Extra load",
                "Retries and hedges for each call that a host got first. Of one host beside the others: what they do "
                "not answer is sent to it. The retry budget holds the sum near 10 %.",
                query(top(share(again, first), attempts, by=_HOST), _HOST_LEGEND),
                style=Style(unit="percentunit", table=True, thresholds=((0.1, YELLOW), (0.2, RED))),
            ),
            graph(
                "p50",
                "Half of the calls to a host end faster.",
                query(half, _HOST_LEGEND, exemplars=True),
                style=Style(unit="s", table=True),
            ),
            graph(
                "Rate",
                "Calls in a second, by the host that was asked last.",
                query(top(events(_CALLS, by=_HOST), _CALLS, by=_HOST), _HOST_LEGEND),
                style=Style(unit="reqps", table=True),
            ),
            graph(
                "Ends",
                "In a second, by status, or by the error of a call without an answer. Refused: every breaker is open.",
                query(top(ends, _CALLS, by=_END), _END_LEGEND),
                style=Style(unit="reqps", stacked=True),
            ),
        ),
    )

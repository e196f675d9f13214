"""gRPC: what is answered, what is called, and how often calls are made again."""

from collections.abc import Sequence

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import Metric
from hasten.monitor.dashboards._dashboard import Row, Sheet, service_variable, worker_variable
from hasten.monitor.dashboards._objectives import threshold_lines
from hasten.monitor.dashboards._overview import FAILED_CALLS
from hasten.monitor.dashboards._panels import ORANGE, RED, YELLOW, Json, Style, buckets, graph, heatmap, query
from hasten.monitor.dashboards._promql import events, gauge, quantile, rate, top, top_failing
from hasten.monitor.slo import Objective

_SERVER, _CLIENT = catalogue.RPC_SERVER_DURATION, catalogue.RPC_CLIENT_DURATION
_METHOD, _METHOD_LEGEND = "rpc_method", "{{rpc_method}}"
_CODE, _CODE_LEGEND = "rpc_response_status_code", "{{rpc_response_status_code}}"
_FAILED_ATTEMPTS = 'rpc_response_status_code!~"OK|CANCELLED"'


def rpc(objectives: Sequence[Objective]) -> Sheet:
    """Return the page of gRPC."""
    return Sheet(
        uid="hasten-rpc",
        title="hasten: gRPC",
        description="Calls that services answer and make: rate, failures, duration, retries and hedges, bytes.",
        rows=(_answered(objectives), _made(), _again(), _bytes()),
        variables=(service_variable(many=True), worker_variable()),
    )


def _answered(objectives: Sequence[Objective]) -> Row:
    return Row(
        "Answered",
        (
            _rate(_SERVER, "Calls that are answered in a second, by method; those that do not exist are _other."),
            _errors(
                _SERVER, FAILED_CALLS, "Share that failed by the server's fault, by method. Its log has the reason."
            ),
            _slow(_SERVER, "99 of 100 calls are answered faster; dashed lines are objectives.", objectives),
            _half(_SERVER, "Half of the calls are answered faster."),
            _codes(_SERVER, "Answers in a second that are not OK, by code."),
            graph(
                "In flight",
                "Calls that are answered now. Rises with the rate, or because something below has become slow.",
                query(gauge(catalogue.RPC_SERVER_ACTIVE, by="job", of="sum"), "{{job}}"),
            ),
        ),
    )


def _made() -> Row:
    return Row(
        "Made, each attempt by itself",
        (
            _rate(_CLIENT, "Attempts in a second, by method."),
            _errors(_CLIENT, _FAILED_ATTEMPTS, "Share of attempts that did not end in OK; cancelled ones left out."),
            _slow(
                _CLIENT, "99 of 100 attempts end faster. Slower than Answered: the network, or the caller's loop.", ()
            ),
            _half(_CLIENT, "Half of the attempts end faster."),
            _codes(_CLIENT, "Attempts in a second that did not end in OK, by code."),
            heatmap(
                "Spread",
                "How many attempts took how long. A second band far above the first one is what hedging cuts off.",
                buckets(rate(_CLIENT, by="le", suffix="_bucket")),
                style=Style(unit="s"),
            ),
        ),
    )


def _again() -> Row:
    attempts = catalogue.RPC_CLIENT_ATTEMPTS
    again = rate(attempts, 'attempt=~"retry|hedge"', by="job")
    first = rate(attempts, 'attempt="first"', by="job")
    return Row(
        "Made again",
        (
            graph(
                "Attempts",
                "In a second, by why they were made: first, retry after a failure, hedge beside a slow one, "
                "transparent where the server never looked.",
                query(rate(attempts, by="attempt"), "{{attempt}}"),
                style=Style(unit="cps", width=12, stacked=True),
            ),
            graph(
                "Extra load",
                "Retries and hedges for each call. The retry budget holds it near 10 %; more means that another client "
                "adds its own retries, or that budgets were raised.",
                query(f"({again} or 0 * {first}) / ({first} > 0)", "{{job}}"),
                style=Style(unit="percentunit", width=12, thresholds=((0.1, YELLOW), (0.2, RED))),
            ),
        ),
    )


def _bytes() -> Row:
    metric = catalogue.RPC_BYTES
    by = "side, direction"
    methods = top(rate(metric, by=_METHOD), metric, by=_METHOD)
    return Row(
        "Bytes",
        (
            graph(
                "Messages",
                "Bytes in a second, as they are on the wire, by side and direction.",
                query(rate(metric, by=by), "{{side}} {{direction}}"),
                style=Style(unit="Bps", width=12),
            ),
            graph(
                "Methods",
                "Bytes in a second, both sides and directions together. Large answers are slow for everybody on the "
                "same connection: page them, or stream.",
                query(methods, _METHOD_LEGEND),
                style=Style(unit="Bps", width=12, table=True),
            ),
        ),
    )


def _rate(metric: Metric, description: str) -> Json:
    found = top(events(metric, by=_METHOD), metric, by=_METHOD)
    return graph("Rate", description, query(found, _METHOD_LEGEND), style=Style(unit="cps", table=True))


def _errors(metric: Metric, failures: str, description: str) -> Json:
    found = top_failing(metric, failures, by=_METHOD)
    thresholds = ((0.001, YELLOW), (0.01, ORANGE), (0.1, RED))
    style = Style(unit="percentunit", table=True, thresholds=thresholds)
    return graph("Errors", description, query(found, _METHOD_LEGEND), style=style)


def _slow(metric: Metric, description: str, objectives: Sequence[Objective]) -> Json:
    found = top(quantile(0.99, metric, by=_METHOD), metric, by=_METHOD)
    lines = threshold_lines(objectives, metric)
    slow = query(found, _METHOD_LEGEND, exemplars=True)
    return graph("p99", description, slow, *lines, style=Style(unit="s", table=True))


def _half(metric: Metric, description: str) -> Json:
    found = top(quantile(0.5, metric, by=_METHOD), metric, by=_METHOD)
    return graph("p50", description, query(found, _METHOD_LEGEND, exemplars=True), style=Style(unit="s", table=True))


def _codes(metric: Metric, description: str) -> Json:
    found = events(metric, f'{_CODE}!="OK"', by=_CODE)
    return graph("Codes", description, query(found, _CODE_LEGEND), style=Style(unit="cps"))

"""All services on one page: whether the promises are kept, and who is busy, failing, or slow."""

from collections.abc import Sequence

from hasten.monitor import _catalogue as catalogue
from hasten.monitor.dashboards._dashboard import Row, Sheet, service_variable, worker_variable
from hasten.monitor.dashboards._objectives import objectives_row
from hasten.monitor.dashboards._panels import (
    GREEN,
    RED,
    YELLOW,
    Column,
    Json,
    Style,
    figure,
    graph,
    now,
    query,
    states,
    table,
)
from hasten.monitor.dashboards._promql import events, failing, gauge, quantile, rate, select
from hasten.monitor.slo import SERVER_FAULTS, Objective

FAILED_REQUESTS = 'http_response_status_code=~"5.."'
FAILED_CALLS = f'rpc_response_status_code=~"{"|".join(sorted(SERVER_FAULTS))}"'
FAILED_MESSAGES = 'error_type!=""'
_FEW = ((0.001, YELLOW), (0.01, RED))


def overview(objectives: Sequence[Objective]) -> Sheet:
    """Return the page of all services."""
    return Sheet(
        uid="hasten-overview",
        title="hasten: overview",
        description="Rate, errors and duration of every service, and what is left of its error budgets.",
        rows=(_now(), *objectives_row(objectives), _requests(), _calls(), _messages(), _processes()),
        variables=(service_variable(many=True), worker_variable()),
    )


def _now() -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    return Row(
        "Now",
        (
            figure(
                "Services",
                "That were scraped. Fewer than there should be: see whether their processes run, and `up` in "
                "Prometheus.",
                query(f"count(count by (job) ({select(catalogue.BUILD)}))", "services"),
                style=Style(width=4, height=4, unit="none"),
            ),
            figure(
                "Failing checks",
                "Of all processes. The panel Checks says whose; /readyz of its admin port says why, and whether the "
                "process is not ready for it.",
                query(f"count({select(catalogue.CHECK)} == 0) or vector(0)", "checks"),
                style=Style(width=4, height=4, unit="none", thresholds=((1, RED),)),
            ),
            figure(
                "Requests",
                "In a second, of all services that are chosen.",
                query(events(catalogue.HTTP_SERVER_DURATION), "requests"),
                style=Style(width=4, height=4, unit="reqps"),
            ),
            figure(
                "Failing",
                "Share of requests that were answered with 5xx.",
                query(failing(catalogue.HTTP_SERVER_DURATION, FAILED_REQUESTS), "5xx"),
                style=Style(width=4, height=4, unit="percentunit", thresholds=_FEW),
            ),
            figure(
                "p99",
                "99 of 100 requests are faster. The service's own page says where the time goes.",
                query(quantile(0.99, catalogue.HTTP_SERVER_DURATION), "p99"),
                style=Style(width=4, height=4, unit="s"),
            ),
            figure(
                "Alerts",
                "That fire for these services; the red marks in all graphs say since when.",
                query('count(ALERTS{alertstate="firing", service=~"$job"}) or vector(0)', "alerts"),
                style=Style(width=4, height=4, unit="none", thresholds=((1, RED),)),
            ),
        ),
    )


def _requests() -> Row:
    metric = catalogue.HTTP_SERVER_DURATION
    return Row(
        "Requests",
        (
            _rate(query(events(metric, by="job"), "{{job}}")),
            _errors(query(failing(metric, FAILED_REQUESTS, by="job"), "{{job}}"), "were answered with 5xx"),
            _duration(query(quantile(0.99, metric, by="job"), "{{job}}", exemplars=True), "requests"),
        ),
    )


def _calls() -> Row:
    metric = catalogue.RPC_SERVER_DURATION
    return Row(
        "gRPC",
        (
            _rate(query(events(metric, by="job"), "{{job}}")),
            _errors(query(failing(metric, FAILED_CALLS, by="job"), "{{job}}"), "have failed by the server's fault"),
            _duration(query(quantile(0.99, metric, by="job"), "{{job}}", exemplars=True), "calls"),
        ),
    )


def _messages() -> Row:
    metric = catalogue.PROCESS_DURATION
    return Row(
        "Messages",
        (
            _rate(query(events(metric, by="job"), "{{job}}")),
            _errors(query(failing(metric, FAILED_MESSAGES, by="job"), "{{job}}"), "made their handler raise"),
            _duration(query(quantile(0.99, metric, by="job"), "{{job}}", exemplars=True), "handlers"),
        ),
    )


def _rate(of: Json) -> Json:
    description = "In a second, by service. A sudden drop is as bad as a peak: see who stopped asking."
    return graph("Rate", description, of, style=Style(unit="reqps"))


def _errors(of: Json, what: str) -> Json:
    description = f"Share that {what}, by service. Open the service's page: its rows say which route, method or topic."
    return graph("Errors", description, of, style=Style(unit="percentunit", thresholds=_FEW))


def _duration(of: Json, what: str) -> Json:
    description = (
        f"99 of 100 {what} are faster. Dots are single traces. Open the service's page to see where time goes."
    )
    return graph("Duration, p99", description, of, style=Style(unit="s"))


def _processes() -> Row:
    return Row(
        "Processes",
        (
            _running(),
            states(
                "Checks",
                "Red while not all checks of a process hold. Its service's page says which, /readyz of its admin port "
                "why.",
                query(f"min by (job, worker) ({select(catalogue.CHECK)})", "{{job}} {{worker}}"),
                names={"0": ("one fails", RED), "1": ("all hold", GREEN)},
                style=Style(width=12),
            ),
            graph(
                "CPU",
                "Cores that each service uses. Near 1 for each worker the event loop is full: add workers, or see the "
                "service's page for what computes.",
                query(rate(catalogue.PROCESS_CPU, by="job"), "{{job}}"),
                style=Style(width=12),
            ),
            graph(
                "Memory",
                "In RAM, by service, all workers together. One that only rises is a leak: compare with its restarts.",
                query(gauge(catalogue.PROCESS_MEMORY, by="job", of="sum"), "{{job}}"),
                style=Style(unit="bytes", width=12),
            ),
        ),
    )


def _running() -> Json:
    by = "job, instance, worker, version, python"
    age = f"time() - max by (job, instance, worker) ({select(catalogue.PROCESS_START)})"
    return table(
        "Running",
        "Each process, what runs in it and since when. A young one that nobody has deployed has crashed.",
        now(
            f"max by ({by}) ({select(catalogue.BUILD)}) * on (job, instance, worker) group_left () ({age})",
            form="table",
        ),
        columns=(
            Column("job", "service", link="/d/hasten-service?var-job=${__value.raw}&${__url_time_range}"),
            Column("instance", "instance"),
            Column("worker", "worker"),
            Column("version", "version"),
            Column("python", "Python"),
            Column("Value", "runs for", "s"),
        ),
        style=Style(width=12),
    )

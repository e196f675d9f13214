"""Messages: whether consumers keep up, what fails, what is dead, and what waits in outboxes."""

from collections.abc import Sequence

from hasten.monitor import _catalogue as catalogue
from hasten.monitor.dashboards._dashboard import Row, Sheet, service_variable, worker_variable
from hasten.monitor.dashboards._objectives import threshold_lines
from hasten.monitor.dashboards._overview import FAILED_MESSAGES
from hasten.monitor.dashboards._panels import GREEN, ORANGE, RED, YELLOW, Style, graph, query, states
from hasten.monitor.dashboards._promql import events, gauge, quantile, rate, top, top_failing
from hasten.monitor.slo import Objective

_TOPIC = "messaging_destination_name"
_GROUP = f"{_TOPIC}, messaging_consumer_group_name"
_TOPIC_LEGEND = f"{{{{{_TOPIC}}}}}"
_GROUP_LEGEND = f"{_TOPIC_LEGEND} {{{{messaging_consumer_group_name}}}}"
_CAUSE, _CAUSE_LEGEND = f"{_GROUP}, cause", f"{_GROUP_LEGEND} {{{{cause}}}}"
_OUTBOX = "job, table"
_OUTBOX_LEGEND = "{{job}} {{table}}"


def messages(objectives: Sequence[Objective]) -> Sheet:
    """Return the page of messages."""
    return Sheet(
        uid="hasten-events",
        title="hasten: events",
        description="Topics and groups: lag, handlers, retries, dead letters, publishing, outboxes.",
        rows=(_lag(), _handlers(objectives), _publishing(), _outboxes()),
        variables=(service_variable(many=True), worker_variable()),
    )


def _lag() -> Row:
    return Row(
        "Do consumers keep up?",
        (
            graph(
                "Lag",
                "Messages that a group has not handled, as the broker says. Rising for minutes: handlers are too "
                "slow or too few; start more consumers, or raise `concurrency`. Flat above zero: see Consumers.",
                query(_most_lag(), _GROUP_LEGEND),
                style=Style(table=True),
            ),
            graph(
                "Wait, p99",
                "From a message's publishing to its handler's start, in 99 of 100 cases; retries count from the first "
                "publishing. Rises with the lag.",
                query(
                    top(quantile(0.99, catalogue.EVENT_WAIT, by=_GROUP), catalogue.EVENT_WAIT, by=_GROUP),
                    _GROUP_LEGEND,
                ),
                style=Style(unit="s", table=True),
            ),
            states(
                "Consumers",
                "Red while a consumer is stuck, or a broker is away. /readyz of the admin port says which message, "
                "or why.",
                query(
                    gauge(catalogue.CHECK, 'check=~"bus|broker.*|consumer.*"', by="job, check", of="min"),
                    "{{job}} {{check}}",
                ),
                names={"0": ("stuck", RED), "1": ("well", GREEN)},
            ),
        ),
    )


def _most_lag() -> str:
    """Return the groups with most lag; every consumer of a group says the same, so the largest counts."""
    return top(gauge(catalogue.CONSUMER_LAG, by=_GROUP), catalogue.CONSUMER_LAG, by=_GROUP)


def _most_dead() -> str:
    return top(gauge(catalogue.DEAD_LETTER_BACKLOG, by=_GROUP), catalogue.DEAD_LETTER_BACKLOG, by=_GROUP)


def _handlers(objectives: Sequence[Objective]) -> Row:
    # Over 40 lines because it is a table, each entry of which stands by itself.
    metric = catalogue.PROCESS_DURATION
    slow = top(quantile(0.99, metric, by=_GROUP), metric, by=_GROUP)
    consumed = top(rate(catalogue.MESSAGES_CONSUMED, by=_GROUP), catalogue.MESSAGES_CONSUMED, by=_GROUP)
    return Row(
        "Handlers",
        (
            graph(
                "Delivered",
                "Messages that the broker has given to a group in a second; those that are tried again included.",
                query(consumed, _GROUP_LEGEND),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Handled",
                "Messages in a second. Less than delivered: they wait for one of their key, or for a batch.",
                query(top(events(metric, by=_GROUP), metric, by=_GROUP), _GROUP_LEGEND),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Duration, p99",
                "99 of 100 handlers are faster; dashed lines are objectives, dots single traces.",
                query(slow, _GROUP_LEGEND, exemplars=True),
                *threshold_lines(objectives, metric),
                style=Style(unit="s", table=True),
            ),
            graph(
                "Errors",
                "Share of the messages whose handler has raised. They are tried again, and at last are dead letters: "
                "`hasten events peek` shows the reasons.",
                query(top_failing(metric, FAILED_MESSAGES, by=_GROUP), _GROUP_LEGEND),
                style=Style(unit="percentunit", table=True, thresholds=((0.01, YELLOW), (0.1, RED))),
            ),
            graph(
                "Tried again",
                "Messages in a second, by why: failed, busy (another consumer handles it), batch (one of its batch "
                "failed).",
                query(
                    top(rate(catalogue.EVENT_RETRIES, by=_CAUSE), catalogue.EVENT_RETRIES, by=_CAUSE),
                    _CAUSE_LEGEND,
                ),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Buried",
                "Messages that became dead letters in a second, by why: failed, rejected, malformed, expired, "
                "returned. `hasten events peek` shows them; after the repair `hasten events replay` has them handled "
                "again.",
                query(top(rate(catalogue.DEAD_LETTERS, by=_CAUSE), catalogue.DEAD_LETTERS, by=_CAUSE), _CAUSE_LEGEND),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Dead letters",
                "That a group has, as the broker says. It falls only when somebody replays or drops them.",
                query(_most_dead(), _GROUP_LEGEND),
                style=Style(width=24, table=True, thresholds=((1, ORANGE),)),
            ),
        ),
    )


def _publishing() -> Row:
    sent, duration = catalogue.MESSAGES_SENT, catalogue.PUBLISH_DURATION
    return Row(
        "Publishing",
        (
            graph(
                "Published",
                "Messages in a second, by topic.",
                query(top(rate(sent, by=_TOPIC), sent, by=_TOPIC), _TOPIC_LEGEND),
                style=Style(unit="cps", table=True),
            ),
            graph(
                "Not confirmed",
                "Share of the messages that the broker has not confirmed in time: it is away, full or slow, and "
                "callers of `publish` got an error.",
                query(top_failing(sent, 'error_type="unconfirmed"', by=_TOPIC), _TOPIC_LEGEND),
                style=Style(unit="percentunit", table=True, thresholds=((0.001, RED),)),
            ),
            graph(
                "Until confirmed, p99",
                "99 of 100 messages are confirmed by the broker faster. Callers wait for it.",
                query(top(quantile(0.99, duration, by=_TOPIC), duration, by=_TOPIC), _TOPIC_LEGEND, exemplars=True),
                style=Style(unit="s", table=True),
            ),
        ),
    )


def _outboxes() -> Row:
    return Row(
        "Outboxes",
        (
            graph(
                "Waiting",
                "Messages that are committed and not published. Rising: no relay is active, or the broker is away.",
                query(gauge(catalogue.OUTBOX_WAITING, by=_OUTBOX), _OUTBOX_LEGEND),
            ),
            graph(
                "Oldest",
                "For how long the oldest one has waited. Above a minute consumers notice.",
                query(gauge(catalogue.OUTBOX_OLDEST, by=_OUTBOX), _OUTBOX_LEGEND),
                style=Style(unit="s", thresholds=((60, RED),)),
            ),
            graph(
                "Refused",
                "Messages that the broker refuses, each with the others of its key behind it. `Outbox.refused` says "
                "why; `Outbox.discard` gives one up.",
                query(gauge(catalogue.OUTBOX_REFUSED, by=_OUTBOX), _OUTBOX_LEGEND),
                style=Style(thresholds=((1, RED),)),
            ),
        ),
    )

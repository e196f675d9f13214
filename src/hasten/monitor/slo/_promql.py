"""Expressions of PromQL: what the events of an objective are, and which of them are bad."""

import json

from hasten.monitor._exposition import bound_text
from hasten.monitor.slo._objective import SERVER_FAULTS, Objective
from hasten.monitor.slo._windows import promql_duration


def quoted(text: str) -> str:
    """Return a string of PromQL: Go's escapes, of which JSON's are some."""
    return json.dumps(text, ensure_ascii=False)


def bound_matcher(bound: float) -> str:
    """Return what selects the bucket of a bound, whichever way a whole number is written: `1.0`, or `1`."""
    text = bound_text(bound)
    if text.endswith(".0"):
        whole = text.removesuffix(".0")
        return f'le=~"{whole}|{whole}\\\\.0"'
    return f'le="{text}"'


def selector(objective: Objective) -> str:
    """Return what selects the events of an objective, without braces: `job="orders",http_route="/orders"`."""
    labels = {"job": objective.service}
    if objective.rpc:
        labels["rpc_method"] = objective.rpc
    elif objective.topic:
        labels["messaging_destination_name"] = objective.topic
        labels["messaging_consumer_group_name"] = objective.group
    else:
        labels["http_route"] = objective.route
        labels["http_request_method"] = objective.method
    return ",".join(f"{name}={quoted(value)}" for name, value in labels.items() if value)


def _outcomes(objective: Objective) -> tuple[str, str]:
    """Return what selects the failures, and what all but them."""
    if objective.rpc:
        faults = quoted("|".join(sorted(SERVER_FAULTS)))
        return f"rpc_response_status_code=~{faults}", f"rpc_response_status_code!~{faults}"
    if objective.topic:
        return 'error_type!=""', 'error_type=""'
    return 'http_response_status_code=~"5.."', 'http_response_status_code!~"5.."'


def events(objective: Objective, seconds: float) -> str:
    """Return how many events there are a second, over so many seconds; 0 if the service is scraped and has none."""
    up = f"max(up{{job={quoted(objective.service)}}} == 1)"
    return f"sum(rate({has_series(objective)}[{promql_duration(seconds)}]))\nor on()\n0 * {up}"


def bad_events(objective: Objective, seconds: float, recorded: str) -> str:
    """Return how many of the events are bad; 0 if none is.

    For availability, the failures. For latency, all but the good ones: in time, and no failures. So a series that does
    not exist, since nothing has failed or nothing was good, counts as none.

    Args:
      recorded: The series that `events` was recorded as.
    """
    failed, passed = _outcomes(objective)
    name, of, over = objective.metric.name, selector(objective), promql_duration(seconds)
    if objective.kind == "availability":
        bad = f"sum(rate({name}_count{{{of},{failed}}}[{over}]))"
    else:
        total = f"sum(rate({name}_count{{{of}}}[{over}]))"
        good = f"sum(rate({name}_bucket{{{of},{passed},{bound_matcher(objective.threshold)}}}[{over}]))"
        bad = f"clamp_min(\n  {total}\n  -\n  ({good} or 0 * {total}),\n  0\n)"
    return f"{bad}\nor on()\n0 * {recorded}"


def has_series(objective: Objective) -> str:
    """Return what has a result if there is a series of the objective's events."""
    return f"{objective.metric.name}_count{{{selector(objective)}}}"

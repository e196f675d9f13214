"""What a service promises, and which series say whether it keeps it."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from hasten.monitor import _catalogue as catalogue
from hasten.monitor._metric import Metric
from hasten.monitor.slo._windows import Severity


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """A share of good events over a window.

    One of `route`, `rpc` and `topic` says whose events; a route of "" without the others is all requests of a service.

    Attributes:
      service: Who promises it: Prometheus' `job`.
      name: Of the objective; the only one of its name in the service.
      kind: An event is good if it was fast enough and no failure (`latency`), or no failure (`availability`).
      target: Share of good events, between 0 and 1: 0.99.
      threshold: Seconds that a good event takes at most; 0.0 for availability.
      route, method: Template and method of requests; an empty method is any.
      rpc: Full name of a gRPC method, `/shop.Catalog/Get`, as it is answered.
      topic, group: Of messages, as they are handled; an empty group is any.
      window: Over which the target holds: `30d`.
      severities: Of the alerts that are wanted.
      min_bad: Bad events in an alert's long window without which it does not fire, whatever the share: a quiet night
        in which one of three requests fails wakes nobody.
    """

    service: str
    name: str
    kind: Literal["latency", "availability"]
    target: float
    threshold: float = 0.0
    route: str = ""
    method: str = ""
    rpc: str = ""
    topic: str = ""
    group: str = ""
    window: str = "30d"
    severities: tuple[Severity, ...] = ("page", "ticket")
    min_bad: int = 5

    @property
    def words(self) -> str:
        """What the events are, for people: `GET /products/{product_id}`."""
        if self.rpc:
            return self.rpc
        if self.topic:
            return f"{self.topic} ({self.group})" if self.group else self.topic
        return " ".join(filter(None, (self.method, self.route))) or "all requests"

    @property
    def metric(self) -> Metric:
        """The histogram whose counts are the events."""
        if self.rpc:
            return catalogue.RPC_SERVER_DURATION
        return catalogue.PROCESS_DURATION if self.topic else catalogue.HTTP_SERVER_DURATION

    def covers(self, values: tuple[str, ...]) -> bool:
        """Whether a series of the metric, by its label values, counts events of this objective."""
        labels = dict(zip(self.metric.labels, values, strict=True))
        if self.rpc:
            return labels["rpc_method"] == self.rpc
        if self.topic:
            group = labels["messaging_consumer_group_name"]
            return labels["messaging_destination_name"] == self.topic and self.group in {"", group}
        of_route = self.route in {"", labels["http_route"]}
        return of_route and self.method in {"", labels["http_request_method"]}

    def fails(self, values: tuple[str, ...]) -> bool:
        """Whether the events of a series are failures by their outcome: a 5xx, a server's gRPC status, an error."""
        labels = dict(zip(self.metric.labels, values, strict=True))
        if self.rpc:
            return labels["rpc_response_status_code"] in SERVER_FAULTS
        if self.topic:
            return labels["error_type"] != ""
        return labels["http_response_status_code"].startswith("5")


SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""gRPC's codes that are a server's fault.

Source: OpenTelemetry, semantic conventions for gRPC, section Server (error status of spans).
"""


def bounds_of(objectives: Iterable[Objective]) -> dict[str, tuple[float, ...]]:
    """Return the bounds that histograms need for objectives, by the metric's name."""
    bounds: dict[str, set[float]] = {}
    for objective in objectives:
        if objective.kind == "latency":
            bounds.setdefault(objective.metric.name, set()).add(objective.threshold)
    return {name: tuple(sorted(found)) for name, found in bounds.items()}

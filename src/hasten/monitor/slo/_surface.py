"""What a service has that objectives can be about, and the check that theirs are about it.

A rule for a bucket, a route or a method that does not exist counts every event as bad, or none: it is refused instead.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.monitor._routes import Route, routes_of
from hasten.monitor.slo._objective import Objective

if TYPE_CHECKING:
    from hasten.monitor._monitor import Monitor

HasMethod = Callable[[str], bool]
"""Says of the full name of a gRPC method whether a server may have it."""


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """What a service has, as far as it is known.

    Attributes:
      service: Its name.
      bounds: Of its histograms, by the metric's name.
      routes: Of its app; none if its routes are not known.
      has_method: Of its gRPC servers; None if it is not known whether there are any.
      subscriptions: Topics and groups that it handles messages of; none if they are not known.
    """

    service: str
    bounds: Mapping[str, tuple[float, ...]]
    routes: tuple[Route, ...] = ()
    has_method: HasMethod | None = None
    subscriptions: tuple[tuple[str, str], ...] = ()


def surface_of(app: Any, monitor: "Monitor") -> Surface:
    """Return what an app has that a monitor was installed into: its routes, and the servers and buses that it watches.

    Servers that take methods by a generic handler or an interceptor may have any.
    """
    servers = [thing.resolve for thing in monitor.watched if hasattr(thing, "resolve")]
    buses: list[Any] = [thing for thing in monitor.watched if hasattr(thing, "asyncapi")]
    return Surface(
        service=monitor.service,
        bounds={family.metric.name: family.metric.bounds for family in monitor.snapshot().families},
        routes=routes_of(app),
        has_method=(lambda method: any(ask(method) is not None for ask in servers)) if servers else None,
        subscriptions=tuple(found for bus in buses for found in _subscriptions(bus)),
    )


def _subscriptions(bus: Any) -> list[tuple[str, str]]:
    """Return topics and groups of a bus, by its AsyncAPI document; none if a payload has no schema."""
    try:
        operations = bus.asyncapi(title="", version="")["operations"]
    except ConfigurationError:
        return []
    found = [(name, operation["x-hasten-group"]) for name, operation in operations.items()]
    return [(name.removesuffix(f":{group}"), group) for name, group in found]


def check_objectives(objectives: Iterable[Objective], surface: Surface, where: str) -> int:
    """Raise for the first objective of a service that is about something it does not have; return how many it has.

    Args:
      objectives: Those of other services are left alone.
      where: Path of their file, for errors.
    Raises:
      ConfigurationError: a bucket, route, method or topic is missing.
    """
    mine = [objective for objective in objectives if objective.service == surface.service]
    for objective in mine:
        place = f"{where}: {objective.name} of {objective.service}"
        _check_events(objective, surface, place)
        _check_bucket(objective, surface, place)
    return len(mine)


def _check_bucket(objective: Objective, surface: Surface, place: str) -> None:
    name = objective.metric.name
    if objective.kind == "latency" and objective.threshold not in surface.bounds.get(name, ()):
        problem = f"{name} of the app has no bucket for {objective.threshold!r} s, so every event would count as slow"
        raise ConfigurationError(f"{place}.latency", problem, "give the app this file: hasten.install(app, slo=...)")


def _check_events(objective: Objective, surface: Surface, place: str) -> None:
    if objective.rpc:
        if surface.has_method is not None and not surface.has_method(objective.rpc):
            problem = f"no gRPC server of the app has {objective.rpc}"
            raise ConfigurationError(f"{place}.rpc", problem, "write it as the client calls it")
    elif objective.topic:
        _check_topic(objective, surface, place)
    elif surface.routes:
        _check_route(objective, surface.routes, place)


def _check_topic(objective: Objective, surface: Surface, place: str) -> None:
    if not surface.subscriptions:
        return
    topics = {topic for topic, _ in surface.subscriptions}
    if objective.topic not in topics:
        problem = f"the app handles no messages of {objective.topic}"
        raise ConfigurationError(f"{place}.topic", problem, _suggested(objective.topic, topics))
    groups = {group for topic, group in surface.subscriptions if topic == objective.topic}
    if objective.group and objective.group not in groups:
        problem = f"the app has no group {objective.group} for {objective.topic}"
        raise ConfigurationError(f"{place}.group", problem, _suggested(objective.group, groups))


def _check_route(objective: Objective, routes: Iterable[Route], place: str) -> None:
    paths = {route.path for route in routes}
    if objective.route and objective.route not in paths:
        problem = f"the app has no route {objective.route}"
        raise ConfigurationError(f"{place}.route", problem, _suggested(objective.route, paths))
    methods = [route.methods for route in routes if objective.route in {"", route.path}]
    if objective.method and not any(not answered or objective.method in answered for answered in methods):
        answered = ", ".join(sorted({method for each in methods for method in each}))
        problem = f"{objective.route or 'no route'} does not answer {objective.method}"
        raise ConfigurationError(f"{place}.method", problem, f"write one of {answered}")


def _suggested(word: str, known: Iterable[str]) -> str:
    """Return what is to be written instead: what is most like it, or the beginning of all that there is."""
    ordered = sorted(known)
    close = get_close_matches(word, ordered, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"it has {', '.join(ordered[:5])}{', ...' if len(ordered) > 5 else ''}"

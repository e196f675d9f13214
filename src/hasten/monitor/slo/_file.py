"""Reads slo.toml.

    [[objective]]
    service = "storefront"
    name = "product-page-fast"
    target = "99%"                            # or 0.99
    latency = "50ms"                          # without it, the objective is availability
    route = "/products/{product_id}"          # or rpc = "/shop.Catalog/Get", or topic = "orders.paid"
    method = "GET"

    [services]
    storefront = ["storefront:9464"]

docs/reference/slo.md has every key. Whatever is wrong is told in one line with its place.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from hasten._core.durations import parse_duration
from hasten._core.errors import ConfigurationError
from hasten.monitor.slo._objective import Objective

ADMIN_PORT = 9464
RUNBOOKS = "docs/reference/alerts.md"
LONGEST_VALUE = 128
"""Characters of a label's value that a recorder keeps; what is longer would never be found."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
_NAME_FORM = "letters, digits, - _ and . between them, 64 at most"
_RPC = re.compile(r"/[A-Za-z_][\w.]*/[A-Za-z_]\w*", re.ASCII)
_METHOD = re.compile(r"[A-Z]+")
_TARGET = re.compile(r"[A-Za-z0-9_.-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)\s?%")
_LONGEST_LATENCY = 3600.0
_LARGEST_PORT = 65535


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Where Prometheus finds a service.

    Attributes:
      name: `job` of its series.
      targets: Addresses of its admin ports, `host:port`.
      token_file: Path, for Prometheus, of the file with the admin port's token; empty where none is needed.
    """

    name: str
    targets: tuple[str, ...]
    token_file: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts go, and what they link to.

    Attributes:
      page, ticket: URLs of the webhooks that alerts of each severity are sent to.
      runbooks: The page whose sections `runbook_url` names, without the `#`: a link, where a team has put the page
        somewhere.
      alertmanagers: Addresses, `host:port`, as Prometheus finds them.
      scrape_interval: Seconds between two scrapes.
      capture: Alerts that a profile may explain are told to the processes of their service, too, which capture one.
    """

    page: str = "http://localhost:5001/page"
    ticket: str = "http://localhost:5001/ticket"
    runbooks: str = RUNBOOKS
    alertmanagers: tuple[str, ...] = ("alertmanager:9093",)
    scrape_interval: float = 15.0
    capture: bool = False


class Container(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How compose.yaml makes and starts the container that a host of targets is.

    Attributes:
      context: Folder that the image is built from, from the deploy folder.
      dockerfile: Its text; without one, the Dockerfile in `context`.
      command: What runs; empty for the image's own.
      ports: Open to the machine, on its loopback address alone.
      environment: Further variables; Compose fills in what is written as $NAME, and $$ is a dollar.
    """

    context: str = ".."
    dockerfile: str = ""
    command: tuple[str, ...] = ()
    ports: tuple[Annotated[int, msgspec.Meta(ge=1, le=_LARGEST_PORT)], ...] = ()
    environment: dict[str, str] = {}


class SloFile(msgspec.Struct, frozen=True, kw_only=True):
    """All that slo.toml says.

    Attributes:
      objectives: In the order of the file.
      services: Those of [services], then those that only objectives name, at `SERVICE:9464`.
      delivery: Of alerts.
      containers: By their hosts; for compose.yaml alone.
    """

    objectives: tuple[Objective, ...]
    services: tuple[Service, ...]
    delivery: Delivery
    containers: dict[str, Container] = {}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[objective]] as it is written."""

    service: str
    name: str
    target: float | str
    latency: str = ""
    route: str = ""
    method: str = ""
    rpc: str = ""
    topic: str = ""
    group: str = ""
    window: Literal["7d", "14d", "28d", "30d", "90d"] = "30d"
    severities: list[Literal["page", "ticket"]] = msgspec.field(default_factory=lambda: ["page", "ticket"])
    min_bad: int = 5


class _ServiceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A service as it is written, if it is more than its targets."""

    targets: list[str]
    token_file: str = ""


class _Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[alerts] as it is written."""

    page: str = Delivery().page
    ticket: str = Delivery().ticket
    runbooks: str = Delivery().runbooks
    capture: bool = False


class _Prometheus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[prometheus] as it is written."""

    alertmanagers: list[str] = msgspec.field(default_factory=lambda: list(Delivery().alertmanagers))
    scrape_interval: str = "15s"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    objective: list[_Entry] = []
    services: dict[str, list[str] | _ServiceTable] = {}
    containers: dict[str, Container] = {}
    alerts: _Alerts = _Alerts()
    prometheus: _Prometheus = msgspec.field(default_factory=_Prometheus)


def read_objectives(path: str | Path) -> tuple[Objective, ...]:
    """Return the objectives in a file.

    Raises:
      ConfigurationError: it cannot be read, or something in it is wrong.
    """
    return read_slo(path).objectives


def read_slo(path: str | Path) -> SloFile:
    """Return all that a file says.

    Raises:
      ConfigurationError: it cannot be read, or something in it is wrong.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise ConfigurationError(str(path), problem, "give the path of an slo.toml") from error
    return parse_slo(text, str(path))


def parse_slo(text: bytes, where: str) -> SloFile:
    """Return all that the text of a file says.

    Args:
      where: Its path, for errors.
    Raises:
      ConfigurationError: something in it is wrong.
    """
    try:
        read = msgspec.toml.decode(text, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(where, error) from error
    objectives = _objectives(read.objective, where)
    services = tuple(_service(name, entry, where) for name, entry in read.services.items())
    known = {service.name for service in services}
    missing = dict.fromkeys(one.service for one in objectives if one.service not in known)
    further = tuple(Service(name=name, targets=(f"{name}:{ADMIN_PORT}",)) for name in missing)
    return SloFile(
        objectives=objectives,
        services=services + further,
        delivery=_delivery(read, where),
        containers=read.containers,
    )


_AT = re.compile(r" - at `\$([^`]*)`$")


def _unreadable(where: str, error: Exception) -> ConfigurationError:
    """Return the error of a file that is no TOML, or has a key or a type that nobody knows."""
    said = " ".join(str(error).split()) or type(error).__name__
    found = _AT.search(said)
    key = f": {_counted(found[1].lstrip('.'))}" if found and found[1] else ""
    return ConfigurationError(f"{where}{key}", _AT.sub("", said), "see docs/reference/slo.md")


def _counted(key: str) -> str:
    """Return `objective 2.target` for `objective[1].target`: people count from one."""
    return re.sub(r"\[(\d+)\]", lambda match: f" {int(match[1]) + 1}", key)


# ---- objectives


def _objectives(entries: Iterable[_Entry], where: str) -> tuple[Objective, ...]:
    found: dict[tuple[str, str], Objective] = {}
    for number, entry in enumerate(entries, 1):
        place = f"{where}: objective {number}"
        objective = _objective(entry, place)
        key = (objective.service, objective.name)
        if key in found:
            raise ConfigurationError(f"{place}.name", f"{entry.service} has {entry.name!r} already", "give it another")
        found[key] = objective
    return tuple(found.values())


def _objective(entry: _Entry, place: str) -> Objective:
    _check_name(entry.service, f"{place}.service")
    _check_name(entry.name, f"{place}.name")
    _check_events(entry, f"{place} ({entry.name})")
    place = f"{place} ({entry.name})"
    if not entry.severities:
        raise ConfigurationError(f"{place}.severities", "is empty", 'write ["page", "ticket"] or one of them')
    if not 1 <= entry.min_bad <= 1_000_000:
        raise ConfigurationError(f"{place}.min_bad", f"{entry.min_bad} is no number of events", "write 1 or more")
    return Objective(
        service=entry.service,
        name=entry.name,
        kind="latency" if entry.latency else "availability",
        target=_target(entry.target, f"{place}.target"),
        threshold=_threshold(entry.latency, f"{place}.latency") if entry.latency else 0.0,
        route=entry.route,
        method=entry.method,
        rpc=entry.rpc,
        topic=entry.topic,
        group=entry.group,
        window=entry.window,
        severities=tuple(dict.fromkeys(entry.severities)),
        min_bad=entry.min_bad,
    )


def _check_events(entry: _Entry, place: str) -> None:
    """Raise unless the entry says clearly whose events it is about."""
    named = [key for key in ("route", "rpc", "topic") if getattr(entry, key)]
    if len(named) > 1:
        raise ConfigurationError(place, f"has {' and '.join(named)}", "an objective is about one of route, rpc, topic")
    if entry.method and named not in ([], ["route"]):
        raise ConfigurationError(f"{place}.method", f"is for routes, and this is about {named[0]}", "leave it out")
    if entry.group and named != ["topic"]:
        raise ConfigurationError(f"{place}.group", "is for topics, and there is no topic", "leave it out")
    if entry.route and not entry.route.startswith("/"):
        raise ConfigurationError(f"{place}.route", f"{entry.route!r} is no route", "it begins with /")
    if entry.rpc and not _RPC.fullmatch(entry.rpc):
        raise ConfigurationError(f"{place}.rpc", f"{entry.rpc!r} is no method", "write it like /shop.Catalog/Get")
    if entry.method and not _METHOD.fullmatch(entry.method):
        raise ConfigurationError(f"{place}.method", f"{entry.method!r} is no method", "write it like GET")
    for key in ("route", "rpc", "topic", "group"):
        _check_value(getattr(entry, key), f"{place}.{key}")


def _check_value(value: str, place: str) -> None:
    if len(value) > LONGEST_VALUE:
        problem = f"has {len(value)} characters, and a label has {LONGEST_VALUE} at most"
        raise ConfigurationError(place, problem, "no series would match")
    if not value.isprintable():
        raise ConfigurationError(place, f"{value!r} has a character that cannot be printed", "leave it out")


def _check_name(name: str, place: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(place, f"{name[:80]!r} is no name", f"write {_NAME_FORM}")


def _target(value: float | str, place: str) -> float:
    """Return the share that `0.99` or `"99%"` says."""
    share = value
    if isinstance(share, str):
        match = _PERCENT.fullmatch(share.strip())
        share = math.nan if match is None else round(float(match[1]) / 100, 12)
    if not 0.0 < share < 1.0:
        raise ConfigurationError(place, f"{value!r} is no share of events", 'write one like 0.99 or "99%", below 1')
    return float(share)


def _threshold(text: str, place: str) -> float:
    seconds = round(parse_duration(text, place), 9)  # 72ms is 0.072, not 0.07200000000000001
    if not 0.0 < seconds <= _LONGEST_LATENCY:
        raise ConfigurationError(place, f"{text!r} is no threshold", "write one above zero and up to 1h")
    return seconds


# ---- services and delivery


def _service(name: str, entry: list[str] | _ServiceTable, where: str) -> Service:
    place = f"{where}: services.{name[:80] if name.isprintable() else repr(name[:80])}"
    _check_name(name, place)
    targets = entry if isinstance(entry, list) else entry.targets
    if not targets:
        raise ConfigurationError(place, "has no target", f'write its admin ports: ["{name}:{ADMIN_PORT}"]')
    for target in targets:
        _check_address(target, place)
    token_file = "" if isinstance(entry, list) else entry.token_file
    if not token_file.isprintable():
        raise ConfigurationError(f"{place}.token_file", f"{token_file!r} is no path")
    return Service(name=name, targets=tuple(dict.fromkeys(targets)), token_file=token_file)


def _check_address(address: str, place: str) -> None:
    if not _TARGET.fullmatch(address) or int(address.rpartition(":")[2]) > _LARGEST_PORT:
        raise ConfigurationError(place, f"{address[:80]!r} is no address", "write host:port, without http://")


def _delivery(read: _File, where: str) -> Delivery:
    urls: Mapping[str, str] = {key: getattr(read.alerts, key) for key in ("page", "ticket", "runbooks")}
    for key, url in urls.items():
        if not _URL.fullmatch(url) and (key, url) != ("runbooks", RUNBOOKS):
            raise ConfigurationError(f"{where}: alerts.{key}", f"{url[:80]!r} is no URL", "it begins with https://")
    for address in read.prometheus.alertmanagers:
        _check_address(address, f"{where}: prometheus.alertmanagers")
    place = f"{where}: prometheus.scrape_interval"
    interval = parse_duration(read.prometheus.scrape_interval, place)
    if not 0.1 <= interval <= 120.0:
        problem = f"{read.prometheus.scrape_interval!r} is too short or too long"
        raise ConfigurationError(place, problem, "write 100ms to 2m; rates are over 5m")
    alertmanagers: Any = tuple(dict.fromkeys(read.prometheus.alertmanagers))
    return Delivery(**urls, alertmanagers=alertmanagers, scrape_interval=interval, capture=read.alerts.capture)

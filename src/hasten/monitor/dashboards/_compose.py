"""compose.yaml: the services, Prometheus, Alertmanager and Grafana on one machine, to look at and to develop with.

Services are found by the hosts of their targets: `shop:9464` and `shop:9465` are two admin ports of one container. An
admin port that others than its own machine reach has a token; Prometheus has it as a secret of Compose.
"""

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from hasten.monitor.slo import Container, Objective, Service

PROMETHEUS, ALERTMANAGER, GRAFANA = "prom/prometheus:v3.5.0", "prom/alertmanager:v0.28.1", "grafana/grafana:12.1.1"
_SECRETS = "/run/secrets/"
_READY = (
    "import sys, urllib.request as ask; "
    "[ask.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=3) for port in sys.argv[1:]]"
)
_SHORTEST_KEPT = 15  # days


class _Host(msgspec.Struct):
    """A container, with the services that answer in it.

    Attributes:
      ports: Of the admin ports.
      token: Whether they need one.
    """

    name: str
    services: list[str]
    ports: list[int]
    token: bool = False


def compose_file(
    objectives: Iterable[Objective], services: Iterable[Service], containers: Mapping[str, Container]
) -> str:
    """Return the text of compose.yaml."""
    services = tuple(services)
    hosts = _hosts(services)
    secrets = sorted({one.token_file.removeprefix(_SECRETS) for one in services if one.token_file.startswith(_SECRETS)})
    parts = [_HEAD]
    parts += [_app(host, containers.get(host.name, Container())) for host in hosts]
    parts.append(_prometheus(_days_kept(objectives), secrets))
    parts.append(_REST)
    if secrets:
        parts.append("secrets:\n" + "".join(f"  {name}: {{environment: HASTEN_ADMIN_TOKEN}}\n" for name in secrets))
    return "\n".join(parts)


def _hosts(services: Sequence[Service]) -> list[_Host]:
    """Return the containers in the order of the services; targets on this machine, or by number, are none."""
    hosts: dict[str, _Host] = {}
    for service in services:
        for target in service.targets:
            name, _, port = target.rpartition(":")
            if _is_name(name):
                host = hosts.setdefault(name, _Host(name, [], []))
                host.ports.append(int(port))
                host.token = host.token or bool(service.token_file)
                if service.name not in host.services:
                    host.services.append(service.name)
    return list(hosts.values())


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host not in {"localhost", "host.docker.internal", *_OURS}
    return False


def _days_kept(objectives: Iterable[Objective]) -> int:
    """Return how long Prometheus keeps data: the longest window, and a week to look back from its end."""
    return max([_SHORTEST_KEPT, *(int(objective.window.removesuffix("d")) + 7 for objective in objectives)])


def _app(host: _Host, container: Container) -> str:
    lines = [f"  {host.name}:  # {', '.join(host.services)}"]
    lines += _build(container)
    if container.command:
        lines.append(f"    command: {json.dumps(container.command)}")
    lines += _environment(host, container)
    if container.ports:
        lines.append(f"    ports: {json.dumps([f'127.0.0.1:{port}:{port}' for port in container.ports])}")
    test = json.dumps(["CMD", "python", "-c", _READY, *map(str, host.ports)])
    lines += [
        "    healthcheck:  # ready when every check of /readyz holds",
        f"      test: {test}",
        "      interval: 5s",
        "      timeout: 5s",
        "      start_period: 60s",
        "    stop_grace_period: 30s  # requests and messages under way end",
        "    restart: unless-stopped",
    ]
    return "".join(f"{line}\n" for line in lines)


def _build(container: Container) -> list[str]:
    if not container.dockerfile:
        return [f"    build: {json.dumps(container.context)}"]
    text = [f"        {line}".rstrip() for line in container.dockerfile.strip().splitlines()]
    return ["    build:", f"      context: {json.dumps(container.context)}", "      dockerfile_inline: |", *text]


def _environment(host: _Host, container: Container) -> list[str]:
    variables = dict(container.environment)
    if host.token:
        variables.setdefault("HASTEN_ADMIN", f"0.0.0.0:{min(host.ports)}")
        variables["HASTEN_ADMIN_TOKEN"] = "${HASTEN_ADMIN_TOKEN:?set it to a long random text}"
    lines = [f"      {name}: {json.dumps(value)}" for name, value in variables.items()]
    if lines:
        lines.insert(0, "    environment:")
    if not host.token:
        lines.append(
            "    # Without a token no other container reaches an admin port, Prometheus neither: give the service in"
        )
        lines.append(f'    # slo.toml token_file = "{_SECRETS}admin-token".')
    return lines


def _prometheus(days: int, secrets: Sequence[str]) -> str:
    needed = f"    secrets: {json.dumps(secrets)}  # the token of the admin ports\n" if secrets else ""
    return f"""\
  prometheus:
    image: {PROMETHEUS}
    command:
      - --config.file=/etc/prometheus/prometheus.yml
      - --storage.tsdb.path=/prometheus
      - --storage.tsdb.retention.time={days}d  # the longest window of an objective, and a week
      - --enable-feature=exemplar-storage  # the traces behind the dots in graphs
    volumes:
      - ./prometheus:/etc/prometheus:ro
      - prometheus:/prometheus
{needed}    ports: ["127.0.0.1:9090:9090"]
    healthcheck: {{test: ["CMD", "wget", "-qO-", "http://127.0.0.1:9090/-/ready"], interval: 5s}}
    restart: unless-stopped
"""


_OURS = ("prometheus", "alertmanager", "grafana")
_HEAD = """\
# generated by hasten monitor; change slo.toml instead
#
#   docker compose up --build --wait     then http://127.0.0.1:3000 is Grafana
#   docker compose down                  keeps the data; with --volumes it is gone
#
# All ports are open to this machine alone.
services:"""
_REST = f"""\
  alertmanager:
    image: {ALERTMANAGER}
    command: ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
    volumes:
      - ./alertmanager:/etc/alertmanager:ro
      - alertmanager:/alertmanager
    ports: ["127.0.0.1:9093:9093"]
    healthcheck: {{test: ["CMD", "wget", "-qO-", "http://127.0.0.1:9093/-/ready"], interval: 5s}}
    restart: unless-stopped

  grafana:
    image: {GRAFANA}
    environment:
      GF_AUTH_ANONYMOUS_ENABLED: "true"  # whoever is on this machine may look
      GF_AUTH_ANONYMOUS_ORG_ROLE: Viewer
      GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: /etc/hasten/dashboards/overview.json
      GF_ANALYTICS_REPORTING_ENABLED: "false"
    volumes:
      - ./grafana/provisioning:/etc/grafana/provisioning:ro
      - ./grafana/dashboards:/etc/hasten/dashboards:ro
      - grafana:/var/lib/grafana
    ports: ["127.0.0.1:3000:3000"]
    depends_on:
      prometheus: {{condition: service_healthy}}
    healthcheck: {{test: ["CMD", "wget", "-qO-", "http://127.0.0.1:3000/api/health"], interval: 5s}}
    restart: unless-stopped

volumes:
  prometheus:
  alertmanager:
  grafana:
"""

"""compose.yaml and Grafana's provisioning: they are YAML, and name only what is there."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from hasten.monitor.dashboards import dashboards, grafana_files
from hasten.monitor.deploy import files
from hasten.monitor.slo import Container, Objective
from hasten.monitor.slo._file import Service, parse_slo
from tests.monitor.driving import ROOT, service_running
from tests.monitor.driving import Service as Running

TOKEN = "/run/secrets/admin-token"
SERVICES = (
    Service(name="storefront", targets=("shop:9464", "shop:9465"), token_file=TOKEN),
    Service(name="stock", targets=("shop:9466",), token_file=TOKEN),
    Service(name="mail", targets=("mail:9464",)),
    Service(name="on-this-machine", targets=("localhost:9464", "127.0.0.1:9465", "[::1]:9466")),
)
CONTAINERS = {
    "shop": Container(
        dockerfile="FROM python:3.13-slim\nCOPY . /app\n\nRUN pip install /app\n",
        context="../../..",
        command=("python", "-m", "shop", "--say", 'it\'s "here"'),
        ports=(8000,),
        environment={"SHOP_DATABASE": "/data/shop.db: #1"},
    )
}
OF_A_SERVICE = {
    "build",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "ports",
    "restart",
    "secrets",
    "stop_grace_period",
    "volumes",
}
"""Keys that Compose's specification has for a service, of which these are used."""
SLO = b"""
[[objective]]
service = "shop"
name = "answers"
target = "99.9%"
window = "90d"
"""


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return grafana_files((), SERVICES, containers=CONTAINERS, scrape_interval=5.0)


@pytest.fixture(scope="module")
def compose(made: dict[str, str]) -> Any:
    return yaml.safe_load(made["compose.yaml"])


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with service_running() as running:
        yield running


# ---- the services


def test_containers(compose: Any) -> None:
    """Hosts of targets are containers, in their order; addresses of this machine are none."""
    assert list(compose["services"]) == ["shop", "mail", "prometheus", "alertmanager", "grafana"]


def test_keys(compose: Any) -> None:
    """A service has the keys of Compose's specification, and either an image or a build."""
    assert compose.keys() == {"services", "volumes", "secrets"}
    for service in compose["services"].values():
        assert service.keys() <= OF_A_SERVICE
        assert ("image" in service) != ("build" in service)
        assert service["healthcheck"].keys() <= {"test", "interval", "timeout", "start_period"}
        assert service["healthcheck"]["test"][0] == "CMD"


def test_what_was_given(compose: Any) -> None:
    """What a container is made of and started with comes through YAML as it was given."""
    shop, given = compose["services"]["shop"], CONTAINERS["shop"]
    assert shop["build"] == {"context": given.context, "dockerfile_inline": given.dockerfile}
    assert tuple(shop["command"]) == given.command
    assert shop["ports"] == ["127.0.0.1:8000:8000"]
    assert shop["environment"].items() >= given.environment.items()
    assert compose["services"]["mail"]["build"] == ".."
    assert "command" not in compose["services"]["mail"]


def test_the_token(made: dict[str, str], compose: Any) -> None:
    """A service whose admin port has a token gets it, and so does Prometheus, where its configuration looks for it."""
    shop = compose["services"]["shop"]
    assert shop["environment"]["HASTEN_ADMIN"] == "0.0.0.0:9464"
    assert shop["environment"]["HASTEN_ADMIN_TOKEN"].startswith("${HASTEN_ADMIN_TOKEN:?")
    assert compose["services"]["prometheus"]["secrets"] == ["admin-token"]
    assert compose["secrets"] == {"admin-token": {"environment": "HASTEN_ADMIN_TOKEN"}}
    assert compose["services"]["mail"].get("environment") is None
    assert f'token_file = "{TOKEN}"' in made["compose.yaml"]


def test_ready(compose: Any, service: Running) -> None:
    """The probe of a container succeeds while each of its admin ports says that it is ready, and not else."""
    test = compose["services"]["shop"]["healthcheck"]["test"]
    assert test[1] == "python"
    assert test[-3:] == ["9464", "9465", "9466"]
    probe = [sys.executable, *test[2:-3]]
    port = service.target.rpartition(":")[2]
    assert subprocess.run([*probe, port, port], check=False).returncode == 0
    closed = subprocess.run([*probe, port, "1"], check=False, capture_output=True)
    assert closed.returncode != 0


# ---- what is mounted and named


def test_images_are_pinned(compose: Any) -> None:
    """No image is another one tomorrow."""
    for service in compose["services"].values():
        if "image" in service:
            version = service["image"].rpartition(":")[2].removeprefix("v")
            assert [part.isdigit() for part in version.split(".")] == [True] * 3


def test_ports_are_of_this_machine(compose: Any) -> None:
    """Nobody else reaches Grafana, which lets everybody in, or an admin port."""
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_what_is_mounted_is_generated() -> None:
    """Each folder that is mounted has a file of `hasten monitor`, and each volume is declared."""
    generated = files(parse_slo(SLO, "slo.toml"))
    compose = yaml.safe_load(generated["compose.yaml"])
    volumes = set()
    for service in compose["services"].values():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("./"):
                assert any(path.startswith(f"{source.removeprefix('./')}/") for path in generated), source
            else:
                volumes.add(source)
    assert volumes == compose["volumes"].keys()


def test_who_waits_for_whom(compose: Any) -> None:
    """Services wait for others that there are."""
    for service in compose["services"].values():
        assert service.get("depends_on", {}).keys() <= compose["services"].keys()


def test_dashboards_are_where_grafana_looks(made: dict[str, str], compose: Any) -> None:
    """Grafana's provider and its home page name the folder that the dashboards are mounted at."""
    (provider,) = yaml.safe_load(made["grafana/provisioning/dashboards/hasten.yml"])["providers"]
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    home = PurePosixPath(compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert home.name in dashboards()
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"


def test_the_data_source(made: dict[str, str], compose: Any) -> None:
    """Grafana asks the Prometheus of the file, and knows how often that scrapes."""
    (source,) = yaml.safe_load(made["grafana/provisioning/datasources/prometheus.yml"])["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert host in compose["services"]
    assert compose["services"][host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == "5s"


def test_prometheus_keeps_enough() -> None:
    """Data are kept for the longest window of an objective, and a week more."""
    objectives = [
        Objective(service="shop", name=window, kind="availability", target=0.9, window=window)
        for window in ("7d", "90d", "30d")
    ]
    assert "--storage.tsdb.retention.time=97d" in command_of_prometheus(objectives)
    assert "--storage.tsdb.retention.time=15d" in command_of_prometheus([])
    assert "--enable-feature=exemplar-storage" in command_of_prometheus([])


def command_of_prometheus(objectives: list[Objective]) -> list[str]:
    made = yaml.safe_load(grafana_files(objectives, SERVICES)["compose.yaml"])
    command: list[str] = made["services"]["prometheus"]["command"]
    return command


# ---- all of it


def test_all_dashboards_are_generated() -> None:
    """`hasten monitor` writes each dashboard, as JSON, with the objectives in it."""
    slo = parse_slo(SLO, "slo.toml")
    generated = files(slo)
    wanted = dashboards(slo.objectives)
    found = {path: json.loads(text) for path, text in generated.items() if path.startswith("grafana/dashboards/")}
    assert found == {f"grafana/dashboards/{name}": dashboard for name, dashboard in wanted.items()}


@pytest.mark.parametrize("path", grafana_files((), ()))
def test_the_first_line(path: str, made: dict[str, str]) -> None:
    """Whoever opens a file reads first that it is generated."""
    assert made[path].startswith("# generated by hasten monitor; change slo.toml instead\n")


def test_the_page_of_the_docs() -> None:
    """What docs/how-to/dashboards.md writes into slo.toml makes the container that it says; all pages are named."""
    page = (ROOT / "docs" / "how-to" / "dashboards.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    slo = parse_slo(block.encode(), "slo.toml")
    shop = yaml.safe_load(files(slo)["compose.yaml"])["services"]["shop"]
    assert shop["command"][:3] == ["hasten", "run", "main:app"]
    assert shop["ports"] == ["127.0.0.1:8000:8000"]
    assert "HASTEN_ADMIN_TOKEN" in shop["environment"]
    titles = [dashboard["title"] for dashboard in dashboards().values()]
    assert re.findall(r"^\| (hasten: [^|]+) \|", page, re.MULTILINE) == titles

"""alertmanager.yml where processes are told of alerts, so that they capture profiles."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hasten._core.errors import ConfigurationError
from hasten.monitor import deploy
from hasten.monitor.slo import PROFILED, parse_slo

SERVICES = """
[services]
orders = ["orders:9464", "orders:9465"]
stock = { targets = ["stock:9464"], token_file = "/run/secrets/token" }

[alerts]
page = "http://127.0.0.1:5001/page"
"""
CAPTURES = f"{SERVICES}capture = true\n"


def config_of(text: str) -> dict[str, Any]:
    """Return what alertmanager.yml says."""
    config: dict[str, Any] = yaml.safe_load(deploy.files(parse_slo(text.encode(), "slo.toml"))[PATH])
    return config


PATH = "alertmanager/alertmanager.yml"


def test_without_it_nothing_is_told(tmp_path: Path) -> None:
    """A file that does not ask for captures gives the configuration that it always gave."""
    config = config_of(SERVICES)
    assert [one["name"] for one in config["receivers"]] == ["pages", "tickets"]
    assert len(config["route"]["routes"]) == 1


def test_every_process_of_a_service_is_told() -> None:
    """Each admin port gets what is about its service, with the token where it wants one, and no alert that is over."""
    receivers = {one["name"]: one["webhook_configs"] for one in config_of(CAPTURES)["receivers"]}
    assert receivers["captures of orders"] == [
        {"url": "http://orders:9464/alerts", "send_resolved": False},
        {"url": "http://orders:9465/alerts", "send_resolved": False},
    ]
    authorization = {"authorization": {"credentials_file": "/run/secrets/token"}}
    assert receivers["captures of stock"] == [
        {"url": "http://stock:9464/alerts", "send_resolved": False, "http_config": authorization}
    ]


def test_alerts_go_on_their_way() -> None:
    """The routes to processes come first, match by service and by name, and let the alert go on to people."""
    routes = config_of(CAPTURES)["route"]["routes"]
    assert [(one["receiver"], one.get("continue", False)) for one in routes] == [
        ("captures of orders", True),
        ("captures of stock", True),
        ("pages", False),
        ("tickets", False),
    ]
    assert routes[0]["matchers"] == ['service="orders"', f'alertname=~"{"|".join(PROFILED)}"']
    assert routes[0]["group_wait"] == "1s"


def test_alertmanager_takes_it(tmp_path: Path, peer: Callable[[str], str]) -> None:
    """amtool has nothing against it, and routes an alert of a process to it and to who is paged."""
    (tmp_path / "alertmanager.yml").write_text(deploy.files(parse_slo(CAPTURES.encode(), "slo.toml"))[PATH])
    amtool = [peer("amtool"), f"--config.file={tmp_path / 'alertmanager.yml'}"]
    subprocess.run([amtool[0], "check-config", tmp_path / "alertmanager.yml"], check=True, capture_output=True)

    def receivers(*labels: str) -> str:
        command = [amtool[0], "config", "routes", "test", amtool[1], *labels]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert receivers("alertname=LoopBlocked", "service=orders", "severity=page") == "captures of orders,pages"
    assert receivers("alertname=LoopBlocking", "service=stock", "severity=ticket") == "captures of stock,tickets"
    assert receivers("alertname=InstanceDown", "service=stock", "severity=ticket") == "tickets"


@pytest.mark.parametrize("value", ['"yes"', "1", "[]"])
def test_what_it_may_be(value: str) -> None:
    """It is true or false; anything else is one line that says where."""
    with pytest.raises(ConfigurationError, match=r"^slo\.toml: alerts\.capture: Expected `bool`") as raised:
        parse_slo(f"[alerts]\ncapture = {value}\n".encode(), "slo.toml")
    assert "\n" not in str(raised.value)

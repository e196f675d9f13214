"""All files of `hasten monitor`: accepted by the programs that read them, readable by people, always the same."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hasten.monitor import deploy
from hasten.monitor.deploy._yaml import HEAD, to_yaml
from hasten.monitor.slo import SloFile, parse_slo

SLO = b"""
[[objective]]
service = "storefront"
name = "product-page-fast"
target = "99%"
latency = "1s"
route = "/products/{product_id}"
method = "GET"

[[objective]]
service = "storefront"
name = "available"
target = 0.999

[[objective]]
service = "catalog"
name = "get-fast"
target = 0.99
latency = "5ms"
rpc = "/shop.Catalog/Get"
window = "7d"

[[objective]]
service = "orders"
name = "paid-handled"
target = 0.99
topic = "orders.paid"

[services]
storefront = ["storefront:9464", "storefront:9465"]

[alerts]
page = "http://127.0.0.1:5001/page"
"""


@pytest.fixture(scope="module")
def slo() -> SloFile:
    """Return objectives of all kinds."""
    return parse_slo(SLO, "slo.toml")


@pytest.fixture
def folder(slo: SloFile, tmp_path: Path) -> Path:
    """Return a folder with all files."""
    files = deploy.files(slo)
    deploy.write(tmp_path, files, deploy.drift_of(tmp_path, files))
    return tmp_path


def said_by(*command: str | Path) -> str:
    """Return what a program that checks files has said; it must not have found anything."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_takes_the_rules_and_the_configuration(folder: Path, peer: Callable[[str], str]) -> None:
    """promtool has nothing against any file, duplicate rules included."""
    promtool = peer("promtool")
    checked = said_by(promtool, "check", "config", "--lint=all", "--lint-fatal", folder / "prometheus/prometheus.yml")
    assert "SUCCESS: 4 rule files found" in checked
    said_by(promtool, "check", "rules", "--lint=all", "--lint-fatal", *sorted((folder / "prometheus/rules").iterdir()))


def test_alertmanager_takes_its_configuration(folder: Path, peer: Callable[[str], str]) -> None:
    """amtool finds two receivers and three inhibit rules."""
    checked = said_by(peer("amtool"), "check-config", folder / "alertmanager/alertmanager.yml")
    assert "3 inhibit rules" in checked
    assert "2 receivers" in checked


@pytest.mark.parametrize(
    ("severity", "receiver"), [("page", "pages"), ("ticket", "tickets"), ("unheard-of", "tickets")]
)
def test_each_severity_has_its_receiver(severity: str, receiver: str, folder: Path, peer: Callable[[str], str]) -> None:
    """Pages go where somebody is woken, everything else where it is looked at in the morning."""
    config = folder / "alertmanager/alertmanager.yml"
    labels = f"severity={severity}"
    routed = said_by(peer("amtool"), "config", "routes", "test", f"--config.file={config}", labels, "service=a")
    assert routed.split() == [receiver]


def test_all_services_are_scraped(folder: Path) -> None:
    """A service of the file is scraped where it says, one that only objectives name at its name and the usual port."""
    config = yaml.safe_load((folder / "prometheus/prometheus.yml").read_text())
    targets = {one["job_name"]: one["static_configs"][0]["targets"] for one in config["scrape_configs"]}
    assert targets == {
        "storefront": ["storefront:9464", "storefront:9465"],
        "catalog": ["catalog:9464"],
        "orders": ["orders:9464"],
    }
    rules = {path.name for path in (folder / "prometheus/rules").iterdir()}
    assert {name.removeprefix("rules/") for name in config["rule_files"]} == rules


def test_a_token_is_sent_from_its_file(peer: Callable[[str], str], tmp_path: Path) -> None:
    """A service whose admin port needs a token is asked with the one in the file."""
    token = tmp_path / "token"
    token.write_text("secret")
    read = parse_slo(f'[services.a]\ntargets = ["a:1"]\ntoken_file = "{token}"'.encode(), "slo.toml")
    text = deploy.files(read)["prometheus/prometheus.yml"]
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/causes.yml").write_text("groups: []")
    (tmp_path / "prometheus.yml").write_text(text)
    said_by(peer("promtool"), "check", "config", tmp_path / "prometheus.yml")
    assert yaml.safe_load(text)["scrape_configs"][0]["authorization"] == {"credentials_file": str(token)}


def test_files_say_where_they_come_from(slo: SloFile) -> None:
    """Whoever is about to edit a file reads first that it is generated, and from what."""
    for path, text in deploy.files(slo).items():
        if path.endswith(".json"):
            json.loads(text)
        else:
            assert text.startswith(HEAD)
            yaml.safe_load(text)
        assert text.endswith("\n")


def test_the_same_file_makes_the_same_files(slo: SloFile) -> None:
    """Generating twice gives no difference, and the order of paths is stable."""
    first, second = deploy.files(slo), deploy.files(parse_slo(SLO, "slo.toml"))
    assert list(first.items()) == list(second.items())
    assert list(first) == sorted(first)


def test_without_anything_there_are_still_valid_files(peer: Callable[[str], str], tmp_path: Path) -> None:
    """A file that is empty gives a Prometheus that scrapes nothing and dashboards that show nothing."""
    files = deploy.files(parse_slo(b"", "slo.toml"))
    deploy.write(tmp_path, files, deploy.drift_of(tmp_path, files))
    said_by(peer("promtool"), "check", "config", tmp_path / "prometheus/prometheus.yml")
    said_by(peer("amtool"), "check-config", tmp_path / "alertmanager/alertmanager.yml")


def test_expressions_are_written_as_they_are_read(slo: SloFile) -> None:
    """An expression of several lines is a block of YAML, without quotes, escapes or anchors in the file."""
    text = deploy.files(slo)["prometheus/rules/slo-storefront.yml"]
    assert "expr: |-\n          sum(rate(" in text
    assert "\\n" not in text
    assert "&id" not in text


@pytest.mark.parametrize(
    "value", ["a: b", "- x", "", "{{ $value }}", "no", "1", "a\nb", "a \n b", "'", '"', "é\u2028x"]
)
def test_any_text_comes_back_from_yaml(value: str) -> None:
    """What YAML would take for something else is quoted."""
    made: dict[str, Any] = {"key": value, "list": [value]}
    assert yaml.safe_load(to_yaml(made, "a comment")) == made


# ---- the folder


def test_only_what_is_different_is_written(slo: SloFile, folder: Path) -> None:
    """Files that are as they would be are not touched, foreign ones neither; a changed and a missing one are made."""
    (folder / "prometheus/rules/own.yml").write_text("groups: []\n")
    (folder / "prometheus/prometheus.yml").write_text("changed")
    (folder / "alertmanager/alertmanager.yml").unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    files = deploy.files(slo)
    drift = deploy.drift_of(folder, files)
    assert (drift.missing, drift.changed, drift.left_over) == (
        ("alertmanager/alertmanager.yml",),
        ("prometheus/prometheus.yml",),
        (),
    )
    deploy.write(folder, files, drift)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if after[path] != before[path]} == {folder / "prometheus/prometheus.yml"}
    assert not deploy.drift_of(folder, files)
    assert (folder / "prometheus/rules/own.yml").read_text() == "groups: []\n"


def test_what_is_not_generated_any_more_is_named(folder: Path) -> None:
    """The rules of a service that is gone from slo.toml stay, are not read by Prometheus, and are reported."""
    files = deploy.files(parse_slo(SLO.replace(b'"orders"', b'"catalog"'), "slo.toml"))
    drift = deploy.drift_of(folder, files)
    assert drift.left_over == ("prometheus/rules/slo-orders.yml",)
    deploy.write(folder, files, drift)
    assert (folder / "prometheus/rules/slo-orders.yml").exists()
    assert "slo-orders" not in files["prometheus/prometheus.yml"]

"""`hasten monitor`: checks an app's objectives and writes a folder, by the real command."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hasten.cli import main

APP = """
import hasten
from fastapi import FastAPI

app = FastAPI()

@app.get("/products/{product_id}")
async def product(product_id: int) -> int:
    return product_id

plain = FastAPI()
plain.get("/items")(product)
hasten.install(app, service="storefront", slo="slo.toml", admin=None)
number = 7
"""
SLO = """
[[objective]]
service = "storefront"
name = "product-page-fast"
target = "99%"
latency = "42ms"
route = "/products/{product_id}"
"""
ORDERS = """
[[objective]]
service = "orders"
name = "up"
target = 0.99
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with an app and its objectives."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "slo.toml").write_text(SLO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hasten(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `hasten monitor` in this process and gives exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        importlib.invalidate_caches()
        with pytest.raises(SystemExit) as caught:
            main(["monitor", *arguments])
        code = caught.value.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(project: Path, hasten: Run) -> Callable[..., str]:
    """Return what gives the message of a command that cannot be carried out, and has written nothing."""

    def run(*arguments: str) -> str:
        code, said, message = hasten(*arguments)
        assert (code, said) == (2, "")
        assert message.count("\n") == 1
        assert not (project / "deploy").exists()
        return message.removeprefix("error: ").rstrip("\n")

    return run


def test_a_folder_is_written_checked_and_mended(project: Path, hasten: Run) -> None:
    """The first run writes all files, --check then finds no difference, names one that is made, and writes nothing."""
    code, said, _ = hasten("shop:app")
    assert code == 0
    assert "deploy/prometheus/rules/slo-storefront.yml: new" in said
    assert said.splitlines()[-1].startswith("next: docker compose -f deploy/compose.yaml up ")
    code, said, _ = hasten("shop:app", "--check")
    assert (code, said.count("\n")) == (0, 2)
    config = project / "deploy/prometheus/prometheus.yml"
    config.write_text("mine")
    code, said, _ = hasten("shop:app", "--check")
    assert code == 1
    assert said.splitlines()[0].strip() == "deploy/prometheus/prometheus.yml: different"
    assert said.splitlines()[-1] == "next: the same without --check writes them"
    assert config.read_text() == "mine"
    code, said, _ = hasten("shop:app")
    assert (code, config.read_text() == "mine") == (0, False)
    assert said.splitlines()[0].strip() == "deploy/prometheus/prometheus.yml: changed"


def test_json_is_all_there_is_on_stdout(project: Path, hasten: Run) -> None:
    """With --json a program reads what was different, what was checked, and the same exit code."""
    (project / "slo.toml").write_text(SLO + ORDERS)
    code, said, message = hasten("shop:app", "--check", "--json", "-o", "there")
    found = json.loads(said)
    assert (code, message) == (1, "")
    assert (found["folder"], found["written"], found["objectives"]) == ("there", False, 2)
    assert (found["checked"], found["unchecked"]) == ({"storefront": 1}, ["orders"])
    assert len(found["missing"]) == found["files"]
    assert not (project / "there").exists()


def test_what_is_not_checked_is_said(project: Path, hasten: Run) -> None:
    """Objectives of a service whose app was not given are written, and the report says that nobody has checked them."""
    (project / "slo.toml").write_text(SLO + ORDERS)
    code, said, _ = hasten("shop:app")
    assert code == 0
    assert "not checked: objectives of orders, whose app was not given" in said


def test_a_file_alone_is_enough(project: Path, hasten: Run) -> None:
    """Without an app that is named or found, the files are written, unchecked."""
    code, said, _ = hasten()
    assert code == 0
    assert "not checked: objectives of storefront, whose app was not given" in said


def test_left_over_rules_are_drift(project: Path, hasten: Run) -> None:
    """--check fails for generated files that nothing generates any more, and says to delete them."""
    (project / "slo.toml").write_text(SLO + ORDERS)
    hasten("shop:app")
    (project / "slo.toml").write_text(SLO)
    hasten("shop:app")
    code, said, _ = hasten("shop:app", "--check")
    assert code == 1
    assert "deploy/prometheus/rules/slo-orders.yml: generated once, not any more" in said
    assert said.splitlines()[-1] == "next: delete what is not generated any more"


def test_an_app_that_hasten_run_monitors_is_checked(project: Path, hasten: Run) -> None:
    """An app without `hasten.install` is the only service of the file."""
    (project / "slo.toml").write_text(SLO.replace("/products/{product_id}", "/items"))
    code, said, _ = hasten("shop:plain", "--json")
    assert (code, json.loads(said)["checked"]) == (0, {"storefront": 1})
    (project / "slo.toml").write_text(SLO.replace("/products/{product_id}", "/itens"))
    code, said, message = hasten("shop:plain", "--json")
    assert (code, said) == (2, "")
    assert message.endswith("the app has no route /itens; did you mean /items?\n")


def test_a_wrong_route_is_refused(project: Path, refused: Callable[..., str]) -> None:
    """The generation fails with the route that is meant, and writes nothing."""
    (project / "slo.toml").write_text(SLO.replace("{product_id}", "{id}"))
    assert refused("shop:app") == (
        "slo.toml: product-page-fast of storefront.route: the app has no route /products/{id}; "
        "did you mean /products/{product_id}?"
    )


def test_a_missing_bucket_is_refused(project: Path, refused: Callable[..., str]) -> None:
    """The generation fails if the app was given other objectives than those that the rules are made from."""
    (project / "other.toml").write_text(SLO.replace("42ms", "43ms"))
    said = refused("shop:app", "--slo", "other.toml")
    assert "has no bucket for 0.043 s" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slo", "no.toml"), "no.toml: cannot be read: No such file or directory; give the path of an slo.toml"),
        (("shop:number",), "target 'shop:number': 'number' is an int, no ASGI app"),
        (("shop:app", "shop:app"), "target 'shop:app': another target is the service storefront, too; give one"),
        (("shop:app", "-o", "shop.py"), "--output: cannot read shop.py/"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    project: Path, arguments: tuple[str, ...], message: str, refused: Callable[..., str]
) -> None:
    """A wrong option is told in one line, without a traceback."""
    assert refused(*arguments).startswith(message)


def test_a_service_that_the_file_does_not_know_is_refused(project: Path, refused: Callable[..., str]) -> None:
    """An app that is installed as another service than the file names is not silently left unchecked."""
    (project / "slo.toml").write_text(SLO.replace("storefront", "store"))
    assert refused("shop:app").startswith(
        "target 'shop:app': is the service 'storefront', of which the file says nothing; give hasten.install"
    )


def test_the_command_is_there(project: Path) -> None:
    """The installed command does the same from another folder's own process."""
    command = [sys.executable, "-m", "hasten", "monitor", "shop:app"]
    done = subprocess.run(command, cwd=project, env={**os.environ}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (project / "deploy/prometheus/rules/slo-storefront.yml").exists()


def test_without_pyyaml_the_extra_is_named(project: Path) -> None:
    """Whoever has not installed the extra is told its name."""
    code = "import sys; sys.modules['yaml'] = None; from hasten.cli import main; main(['monitor', 'shop:app'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: pyyaml is not installed; run: pip install 'hasten[monitor]'\n",
    )

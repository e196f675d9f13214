"""What was written runs: the edited app with its admin port, and both services of the example."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from hasten.init import propose_example, write
from tests.init.projects import initialised, make_project, running


def asked(url: str, token: str = "") -> tuple[int, bytes]:
    """Return status and body of a GET."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("module", ["main.py", "src/shop/main.py"])
def test_the_edited_app_serves(tmp_path: Path, module: str) -> None:
    """It answers as before, its admin port is where the variable says, asks for the token, and knows the objectives."""
    root = make_project(tmp_path, module)
    target = initialised(root).app
    variables = {"HASTEN_ADMIN_TOKEN": "secret", "PYTHONPATH": str(root / "src")}
    with running(root, target, **variables) as service:
        assert asked(f"{service.url}/products/7") == (200, b"7")
        assert asked(f"{service.admin}/readyz")[0] == 200
        assert asked(f"{service.admin}/livez")[0] == 200
        assert asked(f"{service.admin}/metrics")[0] == 401
        status, metrics = asked(f"{service.admin}/metrics", "secret")
        assert status == 200
        assert b"http_server_active_requests" in metrics
        assert b'http_route="/products/{product_id}"' in metrics
        assert b'le="0.25"' in metrics
        assert service.stop() == 0


def test_the_objectives_are_those_of_the_app(tmp_path: Path) -> None:
    """`hasten monitor` checks slo.toml against the edited app, and finds what it would write for Prometheus."""
    root = make_project(tmp_path)
    initialised(root)
    command = [sys.executable, "-m", "hasten", "monitor", "--check", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    found = json.loads(done.stdout)
    assert found["checked"] == {"my-shop": 6}
    assert not [path for path in (*found["missing"], *found["changed"]) if path.startswith("prometheus/")]


def test_the_health_check_of_the_image_tells(tmp_path: Path) -> None:
    """It succeeds while the process is ready, and fails when nothing answers."""
    root = make_project(tmp_path)
    initialised(root)
    line = next(line for line in (root / "Dockerfile").read_text().splitlines() if line.startswith("HEALTHCHECK"))
    code = json.loads(line.split("CMD ", 1)[1])[2]

    def exit_code(port: str) -> int:
        command = [sys.executable, "-c", code.replace("9464", port)]
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode

    with running(root, "shop.main:app") as service:
        port = service.admin.rpartition(":")[2]
        assert exit_code(port) == 0
        assert service.stop() == 0
    assert exit_code(port) != 0


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Return a folder with the example."""
    write(tmp_path, propose_example(tmp_path, force=False).written)
    return tmp_path


def test_the_example_serves(example: Path) -> None:
    """The storefront answers with what stock says by gRPC, keeps it, and says so when stock is gone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        running(example, "shop.stock:app", SHOP_STOCK=address) as stock,
        running(example, "shop.storefront:app", SHOP_STOCK=address) as storefront,
    ):
        assert asked(f"{storefront.url}/products/7") == (200, b'{"id":7,"left":7}')
        assert asked(f"{storefront.url}/products/1001")[0] == 404
        assert asked(f"{storefront.admin}/readyz")[0] == 200
        metrics = asked(f"{storefront.admin}/metrics")[1]
        assert b'rpc_method="/shop.Stock/Get"' in metrics
        assert b"hasten_cache_requests_total" in metrics
        assert b"hasten_limiter_limit" in metrics
        assert b"rpc_server_call_duration_seconds" in asked(f"{stock.admin}/metrics")[1]
        assert stock.stop() == 0
        assert asked(f"{storefront.url}/products/7") == (200, b'{"id":7,"left":7}')  # stale, since stock is gone
        assert asked(f"{storefront.url}/products/8")[0] == 503
        assert storefront.stop() == 0


def test_the_example_passes_its_own_tests(example: Path) -> None:
    """Its tests pass, its source is formatted and typed, and it is small enough to be read."""
    environment = {**os.environ, "PYTHONPATH": str(example), "HASTEN_ADMIN": "off"}
    for tool in (
        ["pytest", "-q", "-p", "no:cacheprovider"],
        ["ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,B,UP,ASYNC", "--no-cache", "."],
        ["ruff", "format", "--isolated", "--line-length", "120", "--no-cache", "--check", "."],
        ["hasten", "check"],
    ):
        command = [sys.executable, "-m", *tool]
        done = subprocess.run(
            command, cwd=example, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}"
    lines = sum(file.read_text().count("\n") for file in example.rglob("*") if file.is_file() and file.suffix != ".pyc")
    assert lines < 220

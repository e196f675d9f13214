"""`hasten run`: serves, records, stops gracefully; bad input is one clear line."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hasten.ledger import read_accounts

APP = """
import asyncio
from fastapi import FastAPI

app = FastAPI()
number = 7

@app.get("/items/{item}")
async def item(item: int) -> int:
    await asyncio.sleep(0.05)
    return item
"""
TELLS = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    protocol = type(getattr(send, "__self__", None)).__module__.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": protocol})
"""
FAILS = """
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    raise RuntimeError("no database")
    yield

app = FastAPI(lifespan=lifespan)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "tells.py").write_text(TELLS)
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    return tmp_path


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run `hasten run` in a folder; yield the process and its URL; end it if the test has not."""
    command = [sys.executable, "-m", "hasten", "run", *options]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"listening on (http://\S+)", line)
            assert found, line
            yield process, found[1]
        finally:
            if process.poll() is None:
                process.kill()


def refused(folder: Path, *options: str) -> tuple[int, str]:
    """Return exit code and stderr of a `hasten run` that cannot serve."""
    command = [sys.executable, "-m", "hasten", "run", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("options", [(), ("--loop", "asyncio", "--http", "h11")])
def test_serves_records_and_stops_gracefully(folder: Path, options: tuple[str, ...]) -> None:
    """A request in flight at SIGTERM is answered, its account is written, the exit code is 0."""
    with running(folder, "shop:app", "--port", "0", "--record", "recorded", *options) as (process, url):
        assert urllib.request.urlopen(f"{url}/items/1", timeout=10).read() == b"1"
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET /items/2 HTTP/1.1\r\nHost: test\r\n\r\n")
            process.send_signal(signal.SIGTERM)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert process.wait(20) == 0
    (file,) = (folder / "recorded").iterdir()
    assert file.name == f"shop-{process.pid}.accounts"
    assert [account.target for account in read_accounts(file)] == ["/items/1", "/items/2"]


@pytest.mark.parametrize(
    ("options", "module"),
    [((), "hasten.http._protocol"), (("--http", "h11"), "uvicorn.protocols.http.h11_impl")],
)
def test_serves_by_a_protocol(folder: Path, options: tuple[str, ...], module: str) -> None:
    """Requests that are not recorded reach the app with the `send` of our protocol, or of the one that is named."""
    with running(folder, "tells:app", "--port", "0", "--sample-every", "1000000", *options) as (_, url):
        answers = [urllib.request.urlopen(url, timeout=10).read().decode() for _ in range(3)]
    assert answers == [module] * 3


def test_an_interrupt_ends_it_quietly(folder: Path) -> None:
    """Ctrl-C stops gracefully: no traceback, exit code 0."""
    with running(folder, "shop:app", "--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_port_in_use_is_named(folder: Path) -> None:
    """Exit 2, with the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refused(folder, "shop:app", "--port", str(port))
    assert code == 2
    assert error == (
        f"error: --port {port}: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another --port, or 0 for a free one\n"
    )


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("broken:app", "nowhere_to_be_found"),
        ("shop:number", "no ASGI app"),
        ("shop:absent", "absent"),
        ("nothere:app", "nothere"),
        ("shop", "module:app"),
    ],
)
def test_a_bad_target_is_one_line(folder: Path, target: str, said: str) -> None:
    """A module that does not import, an attribute that is missing or no ASGI app: one line, exit 2."""
    code, error = refused(folder, target, "--port", "0")
    assert code == 2
    assert len(error.splitlines()) == 1
    assert said in error


def test_a_failing_start_up_is_said(folder: Path) -> None:
    """An app whose lifespan raises exits 3; the app's own error stands above ours."""
    command = [sys.executable, "-m", "hasten", "run", "fails:app", "--port", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "no database" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: fails: the app's start-up failed; see the message above"


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    """--record into a file is an error of one line, before anything is served."""
    code, error = refused(folder, "shop:app", "--port", "0", "--record", "shop.py/x")
    assert code == 2
    assert "cannot write" in error


@pytest.mark.parametrize("option", [("--grace", "soon"), ("--port", "70000"), ("--sample-every", "0"), ("--loop", "x")])
def test_a_bad_option_is_a_usage_error(folder: Path, option: tuple[str, str]) -> None:
    """Values out of range exit 2 and name the option."""
    code, error = refused(folder, "shop:app", *option)
    assert code == 2
    assert option[0] in error

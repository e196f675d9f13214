"""The ledger under servers that a team starts itself: plain uvicorn, gunicorn's uvicorn worker, granian."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = """
import asyncio

from fastapi import FastAPI

import hasten

app = FastAPI()


@app.get("/items/{item}")
async def item(item: int) -> int:
    await asyncio.sleep(0.01)
    return item


@app.get("/threads/{item}")
def threads(item: int) -> int:
    return item


def note(account):
    with open("accounts.txt", "a") as file:
        kinds = "+".join(sorted({line.kind for line in account.lines}))
        file.write(f"{account.endpoint} {account.status} {account.coverage >= 0.98} {kinds}\\n")


hasten.install(app, service="shop", sample_every=1, listeners=[note])
"""
SERVERS = {
    "uvicorn": ("uvicorn", "shop:app", "--port", "{port}"),
    "uvicorn-h11": ("uvicorn", "shop:app", "--port", "{port}", "--http", "h11", "--loop", "asyncio"),
    "gunicorn": ("gunicorn", "shop:app", "-k", "uvicorn_worker.UvicornWorker", "--bind", "127.0.0.1:{port}"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "shop:app"),
}


@contextlib.contextmanager
def serving(command: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Run a server's command until the block ends; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [part.format(port=port) for part in command]
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


def _wait_for(port: int, process: "subprocess.Popen[str]") -> None:
    """Return when the port accepts connections: granian says that it listens before it does."""
    for _ in range(400):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    pytest.fail(f"no connection on port {port}")


@pytest.mark.parametrize("server", SERVERS)
def test_requests_are_recorded(server: str, tmp_path: Path) -> None:
    """One line in the app records every request with its route, under any of these servers."""
    (tmp_path / "shop.py").write_text(APP)

    with serving(SERVERS[server], tmp_path) as url:
        for path in ("/items/1", "/threads/2"):
            assert urllib.request.urlopen(url + path, timeout=20).read() == path[-1:].encode()

    items, threads = (tmp_path / "accounts.txt").read_text().splitlines()
    assert items.startswith("GET /items/{item} 200 True ")
    assert threads.startswith("GET /threads/{item} 200 True ")
    assert "waiting" in items
    assert "thread" in threads


PLAIN = """
import hasten


async def plain(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"plain"})


def note(account):
    with open("accounts.txt", "a") as file:
        file.write(account.endpoint)


app = hasten.install(plain, sample_every=1, listeners=[note])
"""


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
def test_a_plain_app_is_taken_for_asgi_3(server: str, tmp_path: Path) -> None:
    """A server that guesses the interface serves the wrapped app, and its requests are recorded."""
    (tmp_path / "shop.py").write_text(PLAIN)

    with serving(SERVERS[server], tmp_path) as url:
        assert urllib.request.urlopen(f"{url}/here", timeout=20).read() == b"plain"

    assert (tmp_path / "accounts.txt").read_text() == "GET /here"

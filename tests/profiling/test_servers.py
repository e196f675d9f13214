"""The engines within the process under servers that a team starts itself: uvicorn, granian."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten.profiling import Profile
from hasten.profiling._files import decode

from .services import asked

pytestmark = pytest.mark.may_block

APP = """
import asyncio
import threading
from pathlib import Path

import hasten.ledger
from hasten.monitor import Monitor
from hasten.profiling import CaptureOptions
from hasten.profiling._desk import Desk
from hasten.profiling._files import encode
from tests.profiling.planted import planted

app = planted()
monitor = Monitor("shop")


@app.get("/capture/{engine}")
async def capture(engine: str) -> int:
    monitor.runtime.start()
    monitor.watch_ledger(app.state.ledger)
    threading.Thread(target=captured, args=(engine,)).start()
    return 1


def captured(engine):
    try:
        options = CaptureOptions(engine=engine, seconds=2.0)
        made = encode(asyncio.run(Desk(monitor).capture(options)), "json")
    except Exception as error:
        made = repr(error).encode()
    Path(f"{engine}.part").write_bytes(made)
    Path(f"{engine}.part").rename(f"{engine}.json")


hasten.ledger.install(app)
monitor.watch_app(app, None, routed_by=app)
"""

SERVERS = {
    "uvicorn": ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "shop:app"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "shop:app"),
}


@contextlib.contextmanager
def serving(command: tuple[str, ...], folder: Path) -> Iterator[int]:
    """Run a server's command until the block ends; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-m", *[part.format(port=port) for part in command]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{root}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _until_connected(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _until_connected(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(400):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10):
            return
        assert process.poll() is None
        time.sleep(0.05)
    pytest.fail(f"no connection on port {port}")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("engine", ["ledger", "yappi"])
def test_a_capture_within_a_worker(server: str, engine: str, tmp_path: Path) -> None:
    """A service under any of these servers captures itself while it answers, and no request fails."""
    (tmp_path / "shop.py").write_text(APP)
    with serving(SERVERS[server], tmp_path) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/capture/{engine}", timeout=20) as answer:
            assert answer.status == 200
        with asked(port, "/waited", "/mixed", connections=2) as counts:
            profile = _made(tmp_path / f"{engine}.json")
    assert counts["failed"] == 0
    names = {frame.function for stack in profile.stacks for frame in stack.frames}
    names |= {function.frame.function for function in profile.functions}
    assert {"price", "stock", "repository"} <= names
    assert "GET /waited" in profile.endpoints()
    assert profile.answered > 5


def _made(file: Path) -> Profile:
    end = time.monotonic() + 20.0
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    data = file.read_bytes()
    assert data.startswith(b"{"), data
    return decode(data, str(file))

"""How a service leaves, with workers and without: clients are told, requests finish, nothing is left behind."""

import http.client
import json
import os
import signal
import socket
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workers.running import get, running

LISTENING = r"listening on http://(\S+)"
KINDS = pytest.mark.parametrize(
    "kind", [(), ("--loop", "asyncio", "--http", "h11"), ("--workers", "2")], ids=["alone", "h11", "workers"]
)


def connected(address: str) -> http.client.HTTPConnection:
    """Return a connection that has had an answer, and is kept."""
    connection = http.client.HTTPConnection(address, timeout=30)
    assert asked(connection)[1] is None
    return connection


def asked(connection: http.client.HTTPConnection, path: str = "/pid") -> tuple[int, str | None]:
    """Return status and Connection field of an answer."""
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        raise
    return response.status, response.getheader("connection")


def asked_anew(address: str, path: str = "/pid") -> tuple[int, str | None]:
    """Return status and Connection field of an answer on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        return asked(connection, path)
    finally:
        connection.close()


def until_it_leaves(address: str) -> None:
    """Wait until answers say so: the signal is on its way."""
    while asked_anew(address)[1] is None:
        pass


@KINDS
def test_a_lame_duck(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """After SIGTERM kept and new connections are answered, with `Connection: close`; then it ends with 0."""
    with running(tmp_path, *kind, "--lame-duck", "3s") as service:
        address = service.until(LISTENING)[1]
        kept = connected(address)
        service.signal(signal.SIGTERM)
        until_it_leaves(address)
        assert asked(kept) == (200, "close")
        assert asked_anew(address) == (200, "close")
        kept.close()
        assert service.ended() == 0
        assert service.lines[1:] == []


def test_it_is_not_ready_when_it_leaves(tmp_path: Path) -> None:
    """/readyz says 503 from the signal on, and why, while requests are still answered."""
    with running(tmp_path, "--lame-duck", "1m", "--admin", "127.0.0.1:0") as service:
        address = service.until(LISTENING)[1]
        admin = service.until(r"live on (http://\S+)")[1]
        assert json.loads(get(f"{admin}/readyz"))["ready"] is True
        service.signal(signal.SIGTERM)
        until_it_leaves(address)
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(f"{admin}/readyz")
        with caught.value as error:
            checks = {check["name"]: check["reason"] for check in json.loads(error.read())["checks"]}
        assert (error.code, checks) == (503, {"app": "", "server": "it leaves"})


@KINDS
def test_requests_in_flight(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """A request in flight at SIGTERM is answered, also when the lame duck is shorter than it."""
    with running(tmp_path, *kind, "--lame-duck", "0ms") as service, ThreadPoolExecutor() as pool:
        address = service.until(LISTENING)[1]
        answer = pool.submit(asked_anew, address, "/slow")
        service.begun()
        service.signal(signal.SIGTERM)
        assert answer.result() == (200, "close")
        assert service.ended() == 0


@KINDS
def test_the_grace_is_over(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """What is in flight when --grace is over is cancelled, answered with 500, and counted in one line; exit 0."""
    with running(tmp_path, *kind, "--lame-duck", "0ms", "--grace", "200ms") as service, ThreadPoolExecutor() as pool:
        address = service.until(LISTENING)[1]
        answer = pool.submit(asked_anew, address, "/endless")
        service.begun()
        service.signal(signal.SIGTERM)
        status, field = answer.result()
        assert (status, set((field or "").split(", "))) == (500, {"close"})  # uvicorn adds its own
        assert service.ended() == 0
        assert service.lines[1:] == ["hasten: shop: 1 request in flight cancelled after 200 ms"]


@KINDS
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal(tmp_path: Path, kind: tuple[str, ...], stop: signal.Signals) -> None:
    """It ends at once, whatever is in flight and however long the grace; exit 130."""
    options = ("--lame-duck", "1m", "--grace", "1m")
    with running(tmp_path, *kind, *options) as service, ThreadPoolExecutor() as pool:
        address = service.until(LISTENING)[1]
        pool.submit(asked_anew, address, "/endless")
        service.begun()
        service.signal(stop)
        if stop == signal.SIGTERM:
            until_it_leaves(address)
        else:  # it is no lame duck: nobody is there to accept
            until_refused(address)
        service.signal(stop)
        assert service.ended() == 130


def until_refused(address: str) -> None:
    host, port = address.split(":")
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=30) as probe:
                if probe.recv(1) == b"":
                    return
        except OSError:
            return


def test_a_dead_supervisor(tmp_path: Path) -> None:
    """Workers end by themselves when their supervisor is killed, and finish what is in flight."""
    with running(tmp_path, "--workers", "2", "--lame-duck", "100ms") as service, ThreadPoolExecutor() as pool:
        address = service.until(LISTENING)[1]
        workers = service.workers()
        answer = pool.submit(asked_anew, address, "/slow")
        service.begun()
        service.signal(signal.SIGKILL)
        assert answer.result()[0] == 200
        service.ended()  # its output is closed by the last process that has it
        assert [pid for pid in workers if Path(f"/proc/{pid}/cmdline").exists() and is_worker(pid)] == []


def is_worker(pid: int) -> bool:
    return b"hasten.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_terminal_that_interrupts(tmp_path: Path) -> None:
    """Ctrl-C, which the whole process group gets, ends it in order: no traceback, no restart, exit 0."""
    with running(tmp_path, "--workers", "2") as service:
        service.until(LISTENING)
        os.killpg(service.pid, signal.SIGINT)
        assert service.ended() == 0
        assert service.lines[1:] == []


def test_a_worker_that_is_ended_by_hand(tmp_path: Path) -> None:
    """SIGTERM to a worker lets it leave as any, and another one takes its place."""
    with running(tmp_path, "--workers", "1", "--lame-duck", "0ms") as service:
        service.until(LISTENING)
        (worker,) = service.workers()
        os.kill(worker, signal.SIGTERM)
        service.until(f"worker {worker} ended with exit code 0; another one starts now")


HANGS = "import asyncio\nasync def app(scope, receive, send):\n    await receive()\n    await asyncio.Event().wait()\n"
EXITS = "import os\nos._exit(7)\n"
FAILS = (
    "async def app(scope, receive, send):\n    await receive()\n    await send({'type': 'lifespan.startup.failed'})\n"
)
BUS = "from hasten.events import Bus\napp = Bus('memory://')\n"


@pytest.mark.parametrize(
    ("app", "code", "said"),
    [
        ("import nowhere_to_be_found\n", 2, r"error: target 'shop:app': does not import: .*nowhere_to_be_found"),
        (HANGS, 3, "error: shop: not ready within 3.00 s"),
        (EXITS, 3, r"error: shop: worker \d+ ended with exit code 7 before it was ready"),
        (FAILS, 3, "error: shop: the app's start-up failed; see the message above"),
        (BUS, 2, "error: --workers: shop:app is a bus, which serves no requests; leave it out"),
    ],
    ids=["import", "hangs", "exits", "lifespan", "bus"],
)
def test_a_start_that_fails(tmp_path: Path, app: str, code: int, said: str) -> None:
    """Workers that do not become ready end the start: one line, once, and the exit code of what is wrong."""
    with running(tmp_path, "--workers", "3", "--start-timeout", "3s", app=app) as service:
        service.until(said)
        assert service.ended() == code
        assert [line for line in service.lines if line.startswith(("error:", "hasten:"))] == service.lines[-1:]

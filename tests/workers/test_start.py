"""What comes before the first request: warm-up, unix sockets, inherited sockets; and what is wrong with options."""

import http.client
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.workers.running import APP, get, running

LISTENING = r"listening on (\S+)"
KINDS = pytest.mark.parametrize("kind", [(), ("--workers", "1")], ids=["alone", "workers"])
WARM = """
import asyncio

async def later(app):
    await asyncio.sleep(0)
    print("begun", flush=True)

def at_once(app):
    print("begun", flush=True)

def fails(app):
    raise ValueError("no index")

number = 7
"""


@KINDS
@pytest.mark.parametrize("function", ["later", "at_once"])
def test_a_warm_up(tmp_path: Path, kind: tuple[str, ...], function: str) -> None:
    """It is called with the app before connections are accepted, whether it is async or not."""
    (tmp_path / "warm.py").write_text(WARM)
    with running(tmp_path, *kind, "--warm-up", f"warm:{function}") as service:
        url = service.until(LISTENING)[1]
        service.begun()
        assert get(f"{url}/pid")


@KINDS
@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("fails", 3, r"error: shop: the warm-up failed: ValueError: no index \(\S+warm.py:12\)"),
        ("number", 2, "error: --warm-up: warm:number cannot be called; name a function that takes the app"),
        ("missing", 2, "error: target 'warm:missing': module 'warm' has no attribute 'missing'"),
    ],
)
def test_a_warm_up_that_fails(tmp_path: Path, kind: tuple[str, ...], function: str, code: int, said: str) -> None:
    """It ends the start with one line."""
    (tmp_path / "warm.py").write_text(WARM)
    with running(tmp_path, *kind, "--warm-up", f"warm:{function}") as service:
        assert service.ended() == code
        (line,) = service.lines
        assert re.fullmatch(said, line)


@KINDS
def test_frozen(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """With --gc frozen what is there as it begins to serve is left out of garbage collections; else hardly anything."""
    for policy, frozen in (("frozen", True), ("python", False)):
        with running(tmp_path, *kind, "--gc", policy) as service:
            assert (int(get(f"{service.until(LISTENING)[1]}/frozen")) > 10_000) is frozen


class UnixConnection(http.client.HTTPConnection):
    """A connection over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@pytest.mark.parametrize("kind", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_unix_socket(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """It takes the place of one that was left behind, others may connect, and it is removed at the end."""
    path = tmp_path / "shop.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with running(tmp_path, *kind, "--uds", str(path), "--lame-duck", "0ms") as service:
        assert service.until(LISTENING)[1] == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o666
        connection = UnixConnection(path)
        connection.request("GET", "/pid")
        assert connection.getresponse().status == 200
        connection.close()
        service.signal(signal.SIGTERM)
        assert service.ended() == 0
    assert not path.exists()


@pytest.mark.parametrize("kind", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_an_open_socket(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """--fd serves on a socket that whoever starts it has opened."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        number = opened.fileno()
        with running(tmp_path, *kind, "--fd", str(number), pass_fds=[number]) as service:
            url = service.until(LISTENING)[1]
            assert url == f"http://127.0.0.1:{opened.getsockname()[1]}"
            assert get(f"{url}/pid")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--workers", "0"), "error: --workers 0: no number of workers; use 1 to 256, or auto"),
        (("--workers", "some"), "error: --workers some: no number of workers; use 1 to 256, or auto"),
        (("--workers", "2", "--reload"), "error: --workers: --reload is for one; leave one of them out"),
        (("--max-memory", "much"), "error: --max-memory: 'much' is no size; write it like 512mb or 1.5gb"),
        (("--fd", "0"), "error: --fd 0: .*; open a listening socket there, before hasten starts"),
        (
            ("--uds", "nowhere/shop.sock"),
            "error: --uds nowhere/shop.sock: cannot listen there: No such file or directory",
        ),
    ],
)
def test_a_bad_option(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """It is one line, and exit 2."""
    with running(tmp_path, *options) as service:
        assert service.ended() == 2
        (line,) = service.lines
        assert re.fullmatch(said, line)


def test_a_port_that_workers_have(tmp_path: Path) -> None:
    """A port that another service's workers share is taken, though sockets of one user could share it."""
    with running(tmp_path, "--workers", "2") as service:
        port = service.until(r"listening on http://127.0.0.1:(\d+)")[1]
        with running(tmp_path, "--workers", "2", "--port", port) as second:
            assert second.ended() == 2
            assert "Address already in use" in second.lines[0]


SYSTEMD = (
    sys.executable,
    "-c",
    """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
""",
)
STARTED = APP.replace("return os.getpid()", "return sorted(name for name in os.environ if name.startswith('LISTEN'))")


@pytest.mark.parametrize("kind", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_socket_activation(tmp_path: Path, kind: tuple[str, ...]) -> None:
    """It serves on the socket that systemd has opened, and the app and what it starts see nothing of that."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        number = opened.fileno()
        launcher = (*SYSTEMD, str(number))
        passed = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "shop.socket"}
        with running(tmp_path, *kind, app=STARTED, launcher=launcher, pass_fds=[number], environment=passed) as service:
            url = service.until(LISTENING)[1]
            assert url == f"http://127.0.0.1:{opened.getsockname()[1]}"
            assert get(f"{url}/pid") == "[]"


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_told(tmp_path: Path, *, abstract: bool) -> None:
    """The start, a reload and the end are told as sd_notify(3) has them, with a watchdog's pings between."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        name = f"hasten-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        systemd.bind(f"\0{name}" if abstract else name)
        systemd.settimeout(30)
        told = Told(systemd)
        asked = {"NOTIFY_SOCKET": f"@{name}" if abstract else name, "WATCHDOG_USEC": "200000"}
        with running(tmp_path, "--workers", "2", "--lame-duck", "0ms", environment=asked) as service:
            assert told.next() == ["READY=1", "STATUS=2 workers"]
            assert told.ping() == ["WATCHDOG=1"]
            service.signal(signal.SIGHUP)
            reloading, at = told.next()
            assert (reloading, at.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
            assert told.next() == ["READY=1", "STATUS=2 workers"]
            service.signal(signal.SIGTERM)
            assert told.next() == ["STOPPING=1"]
            assert service.ended() == 0


def test_systemd_is_told_of_one_process(tmp_path: Path) -> None:
    """A process alone tells its start, its end, and that its event loop is not stuck."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        told = Told(systemd)
        asked = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with running(tmp_path, "--lame-duck", "0ms", environment=asked) as service:
            assert told.next()[0] == "READY=1"
            assert told.ping() == ["WATCHDOG=1"]
            service.signal(signal.SIGTERM)
            assert told.next() == ["STOPPING=1"]
            assert service.ended() == 0


class Told:
    """What systemd is told."""

    def __init__(self, systemd: socket.socket) -> None:
        self._systemd = systemd

    def ping(self) -> list[str]:
        """Return the next message."""
        return self._systemd.recv(4096).decode().split("\n")

    def next(self) -> list[str]:
        """Return the next message that is no ping."""
        while (message := self.ping()) == ["WATCHDOG=1"]:
            pass
        return message

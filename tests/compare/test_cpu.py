"""CPU clocks: what a service has used, with its children, by whichever way it can be known."""

import http.server
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hasten._core.errors import TargetUnreachable
from hasten.admin.live import parse_place
from hasten.compare._cpu import MetricsCpu, clock_of_pid, clock_of_url

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what other processes use")

_BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
# One child that has ended and was waited for, one that lives, and the process itself: 0.3 s each.
_FAMILY = f"""
import subprocess, sys
burn = {_BURN!r}
subprocess.run([sys.executable, "-c", burn], check=True)
child = subprocess.Popen([sys.executable, "-c", burn + "print(flush=True); input()"], stdin=-1, stdout=-1)
child.stdout.readline()
exec(burn)
print("done", flush=True)
input()
child.communicate(b"x\\n")
"""


@contextmanager
def started(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python program that says a line when it is ready, and ends when it is told."""
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate("x\n")


def first_line(process: "subprocess.Popen[str]") -> str:
    """Return the first line that a program says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_children_are_counted_alive_and_dead() -> None:
    """The clock of a process holds its own time, that of a child that runs, and that of one that has ended."""
    with started(_FAMILY) as process:
        clock = clock_of_pid(process.pid)
        assert first_line(process) == "done"
        assert not clock.missing
        assert 0.88 <= clock.read() <= 3.0  # the dead one's in hundredths; starting Python takes some, too


def test_a_dead_process_is_not_known() -> None:
    """The clock of a process that has ended tells nothing, and says why it cannot."""
    with started("input()") as process:
        pass
    clock = clock_of_pid(process.pid)
    assert math.isnan(clock.read())
    assert clock.missing


_LISTEN = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:  # a worker, which has its supervisor's socket
    while sum(os.times()[:2]) < 0.3: pass
    print(listener.getsockname()[1], flush=True)
    os.read(0, 1)
    os._exit(0)
os.wait()
"""


def test_a_url_of_this_machine_has_its_processes_clock() -> None:
    """Whoever listens at the port is found, its workers are counted once."""
    with started(_LISTEN) as process:
        port = first_line(process)
        clock = clock_of_url(f"http://127.0.0.1:{port}/path")
        assert not clock.missing
        assert 0.25 <= clock.read() < 0.6


def test_a_url_of_this_very_process_has_a_clock(admin_port: int) -> None:
    """A process that opens and closes files while it is looked at is found all the same."""
    assert clock_of_url(f"http://localhost:{admin_port}").read() > 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://192.0.2.1:8000", "http://192.0.2.1:8000 is another machine's"),
        ("http://127.0.0.1:1", "no process of yours listens on port 1"),
    ],
)
def test_an_unknown_service_has_no_clock(url: str, reason: str) -> None:
    """Where no process is seen, it is said why, and the figure is not known."""
    clock = clock_of_url(url)
    assert clock.missing == reason
    assert math.isnan(clock.read())


class _Metrics(http.server.BaseHTTPRequestHandler):
    """An admin port with the token `secret`."""

    text = ""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer secret"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(self.text.encode() if allowed else b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def admin_port() -> Iterator[int]:
    """Return the port of a server that answers with `_Metrics.text`."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Metrics)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_admin_port_tells(admin_port: int) -> None:
    """The samples of all processes behind an admin port are added up."""
    _Metrics.text = (
        "# TYPE process_cpu_seconds_total counter\n"
        'process_cpu_seconds_total{worker="1"} 1.25\nprocess_cpu_seconds_total{worker="2"} 5e-1\n'
    )
    clock = MetricsCpu(parse_place(f"http://127.0.0.1:{admin_port}", "secret"))
    assert clock.read() == 1.75
    _Metrics.text = ""
    assert math.isnan(clock.read())


def test_an_admin_port_that_does_not_tell_is_one_line(admin_port: int) -> None:
    """A wrong token, a service that has no such metric, and nobody at all are named."""
    _Metrics.text = "up 1\n"
    url = f"http://127.0.0.1:{admin_port}"
    with pytest.raises(TargetUnreachable, match=f"^{url}: its /metrics is answered by 401; does it need a token"):
        MetricsCpu(parse_place(url))
    with pytest.raises(TargetUnreachable, match=f"^{url}: its /metrics has no process_cpu_seconds_total"):
        MetricsCpu(parse_place(url, "secret"))
    with pytest.raises(TargetUnreachable, match=r"^http://127\.0\.0\.1:1: .*refused; is it running"):
        MetricsCpu(parse_place("http://127.0.0.1:1"))

"""One admin port for all workers: real workers of gunicorn, killed, frozen and restarted under it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.metrics_core import Metric as ForeignMetric
from prometheus_client.openmetrics import parser as open_metrics_parser

from hasten._core.errors import ConfigurationError
from hasten.admin import AdminAddress
from hasten.admin._aggregate import ANSWER_WITHIN, Aggregate
from hasten.monitor import OPEN_METRICS, TEXT, Snapshot
from hasten.monitor import _catalogue as catalogue

parse_open_metrics: Callable[[str], Iterable[ForeignMetric]] = open_metrics_parser.text_string_to_metric_families
_WORKERS = 3
_PATIENCE = 30.0
_ROOT = Path(__file__).parents[2]
_PROCESS = "process_start_time_seconds"


class Answers:
    """What an admin port says: `answers["/metrics"]`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as response:
                return response.status, response.headers["content-type"], response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["content-type"], error.read()

    def ready(self) -> tuple[bool, list[bool]]:
        """Return whether all together are ready, and which of them."""
        status, _, body = self.get("/readyz")
        said = json.loads(body)
        assert (status == 200) == said["ready"]
        return said["ready"], [worker["ok"] for worker in said["workers"]]

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return all samples of a scrape by name and labels; no series is in it twice."""
        _, content_type, body = self.get("/metrics", accept="application/openmetrics-text")
        assert content_type == OPEN_METRICS
        found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in parse_open_metrics(body.decode()):
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in found
                found[key] = sample.value
        return found

    def workers(self) -> set[str]:
        """Return the numbers of the workers whose gauges are there."""
        return {dict(labels)["worker"] for (name, labels) in self.samples() if name == _PROCESS}

    def requests(self) -> float:
        """Return how many requests all workers have answered."""
        name = f"{catalogue.HTTP_SERVER_DURATION.name}_count"
        return sum(value for (metric, _), value in self.samples().items() if metric == name)


class Workers:
    """A service of several processes."""

    def __init__(self, url: str, admin_port: int, master: int) -> None:
        self.url = url
        self.admin_port = admin_port
        self._master = master

    def addresses(self) -> list[str]:
        """Return where their admin ports are."""
        return [f"http://127.0.0.1:{self.admin_port + number}" for number in range(_WORKERS)]

    def hit(self, times: int) -> None:
        """Have requests answered, by whichever worker."""
        for _ in range(times):
            with urllib.request.urlopen(f"{self.url}/hit", timeout=_PATIENCE) as response:
                assert response.status == 200

    def pid_at(self, number: int) -> int:
        """Return the process that has an admin port; it is a worker."""
        children = Path(f"/proc/{self._master}/task/{self._master}/children").read_text().split()
        inode = _listening_inode(self.admin_port + number)
        return next(int(child) for child in children if inode in _sockets(int(child)))


def _listening_inode(port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            return f"socket:[{fields[9]}]"
    raise AssertionError(f"nobody listens on {port}")


def _sockets(pid: int) -> set[str]:
    with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
        return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return set()


@contextmanager
def _workers(home: Path) -> Iterator[Workers]:
    """Start gunicorn; `home` is where it puts files of its own."""
    port, admin = _free_ports(1), _free_ports(_WORKERS)
    command = [sys.executable, "-m", "gunicorn", "tests.admin.workers_app:app", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(_WORKERS), "--worker-class", "uvicorn_worker.UvicornWorker"]
    environment = os.environ | {"HASTEN_TEST_ADMIN": f"127.0.0.1:{admin}", "HOME": str(home)}
    with subprocess.Popen(command, cwd=_ROOT, env=environment, stderr=subprocess.PIPE, text=True) as master:
        try:
            yield Workers(f"http://127.0.0.1:{port}", admin, master.pid)
        finally:
            master.terminate()
            _, said = master.communicate(timeout=_PATIENCE)
    assert "Traceback" not in said, said


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _free_ports(count: int) -> int:
    """Return the first of so many ports next to each other that are free now."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
        try:
            for number in range(count):
                socket.create_server(("127.0.0.1", port + number)).close()
        except (OSError, OverflowError):
            continue
        return port


def _until(condition: Callable[[], bool]) -> None:
    """Wait until something holds that another process does; each look is a request to it."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)


@contextmanager
def _aggregate(workers: Workers, token: str = "", service: str | None = None) -> Iterator[Answers]:
    aggregate = Aggregate(workers.addresses, AdminAddress(port=0, token=token), service=service)
    aggregate.start()
    try:
        yield Answers(aggregate.url)
    finally:
        aggregate.stop()


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Yield workers that all answer."""
    with _workers(tmp_path_factory.mktemp("home")) as running, _aggregate(running) as answers:
        _until(lambda: answers.ready() == (True, [True] * _WORKERS))
        yield running


def test_workers_are_one_service(workers: Workers) -> None:
    """Requests of all workers are one sum, and the gauges of each have its number."""
    with _aggregate(workers) as answers:
        before = answers.requests()
        workers.hit(40)
        assert answers.requests() == before + 40
        assert answers.workers() == {"0", "1", "2"}
        status, content_type, text = answers.get("/metrics")
        assert (status, content_type) == (200, TEXT)
        assert b'_bucket{http_request_method="GET",http_route="/hit",http_response_status_code="200",le="0.1"}' in text
        status, _, body = answers.get("/snapshot")
        merged = msgspec.msgpack.decode(body, type=Snapshot)
        assert (status, merged.service, merged.worker) == (200, "workers", "")


def test_killed_workers_stay_in_the_sums_and_leave_nothing_else(workers: Workers) -> None:
    """Through kills and restarts no sum goes down, and gauges are of those that live."""
    with _aggregate(workers) as answers:
        workers.hit(20)
        sums = answers.samples()
        begun = {labels: value for (name, labels), value in sums.items() if name == _PROCESS}
        for number in (0, 2):
            os.kill(workers.pid_at(number), signal.SIGKILL)
        _until(lambda: answers.ready() == (True, [True] * _WORKERS))
        workers.hit(20)
        now = answers.samples()
        assert answers.workers() == {"0", "1", "2"}
        assert answers.requests() == _requests(sums) + 20
        again = {labels: value for (name, labels), value in now.items() if name == _PROCESS}
        assert [again[key] > begun[key] for key in sorted(begun, key=sorted)] == [True, False, True]
        for (name, labels), value in sums.items():
            if name.endswith(("_total", "_bucket", "_count", "_sum")):
                assert now[name, labels] >= value, (name, labels)


def _requests(samples: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> float:
    name = f"{catalogue.HTTP_SERVER_DURATION.name}_count"
    return sum(value for (metric, _), value in samples.items() if metric == name)


def test_a_frozen_worker_holds_nobody(workers: Workers) -> None:
    """A worker that does not answer is named, its gauges go, its counts stay, and the others are not kept waiting."""
    with _aggregate(workers) as answers:
        workers.hit(5)
        counted = answers.requests()
        frozen = workers.pid_at(1)
        os.kill(frozen, signal.SIGSTOP)
        try:
            assert answers.ready() == (True, [True, False, True])
            _, _, body = answers.get("/readyz")
            assert json.loads(body)["workers"][1]["reason"] == f"no answer within {ANSWER_WITHIN:g} s"
            assert answers.workers() == {"0", "2"}
            assert answers.requests() == counted
            status, _, body = answers.get("/livez")
            assert (status, json.loads(body)["status"]) == (200, "ok")
        finally:
            os.kill(frozen, signal.SIGCONT)
        _until(lambda: answers.ready() == (True, [True] * _WORKERS))
        assert answers.workers() == {"0", "1", "2"}
        assert answers.requests() == counted


def test_questions_leave_no_connection_behind(workers: Workers) -> None:
    """After many scrapes the process has no more files and sockets open than after the first."""
    with _aggregate(workers) as answers:
        answers.samples()
        before = _open_files()
        for _ in range(20):
            answers.samples()
            answers.ready()
        assert _open_files() <= before + 1  # the connection that has just answered


def test_another_service_is_not_added(workers: Workers) -> None:
    """Where a service is named, a port that another one has is not counted."""
    with _aggregate(workers, service="other") as answers:
        assert answers.samples() == {}
    with _aggregate(workers, service="workers") as answers:
        assert answers.workers() == {"0", "1", "2"}


def test_the_token_is_asked_for_and_sent() -> None:
    """With a token nobody else sees metrics and workers, and the workers, which have it too, are asked with it."""
    with Silent() as silent, _aggregate(silent, token="secret") as answers:
        assert answers.get("/metrics")[0] == 401
        status, _, body = answers.get("/readyz")
        assert (status, json.loads(body)) == (503, {"ready": False})
        assert answers.get("/metrics", authorization="Bearer secret")[0] == 200
        assert "authorization: Bearer secret\r\n" in silent.asked


def test_without_workers_it_is_not_ready_but_lives() -> None:
    """Nobody to be asked is no reason to restart, and none to send requests."""
    with _aggregate(Workers("", 1, 0), token="") as answers:
        nobody = Answers(answers.url)
        assert nobody.ready()[0] is False
        assert nobody.get("/livez")[0] == 503
    aggregate = Aggregate(lambda: (), AdminAddress(port=0))
    aggregate.start()
    try:
        answers = Answers(aggregate.url)
        assert answers.ready() == (False, [])
        assert answers.get("/livez")[0] == 200
        assert answers.get("/metrics") == (200, TEXT, b"")
        assert answers.get("/nothing")[0] == 404
    finally:
        aggregate.stop()


def test_a_taken_port_is_said() -> None:
    """The port for all workers is the one that was named, or none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        aggregate = Aggregate(lambda: (), AdminAddress(port=taken.getsockname()[1]))
        with pytest.raises(ConfigurationError, match="it is taken"):
            aggregate.start()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    ],
)
def test_whatever_has_a_workers_port_is_no_worker(said: bytes) -> None:
    """What is not a worker, or not whole, is not ready, and takes nothing from the answer."""
    with Silent(said) as silent, _aggregate(silent) as answers:
        ready, each = answers.ready()
        assert (ready, any(each)) == (False, False)
        assert answers.samples() == {}


class Silent(Workers):
    """A port that says always the same."""

    def __init__(self, said: bytes = b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n{}") -> None:
        super().__init__("", 0, 0)
        self._said = said
        self._process: Any = None
        self.asked = ""

    def addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{self.admin_port}"]

    def __enter__(self) -> "Silent":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.admin_port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                asked = connection.recv(65536).decode()
                if asked == "stop":
                    return
                self.asked += asked
                connection.sendall(self._said)

    def __exit__(self, *_: object) -> None:
        with socket.create_connection(("127.0.0.1", self.admin_port)) as last:
            last.sendall(b"stop")
        self._thread.join()
        self._listener.close()

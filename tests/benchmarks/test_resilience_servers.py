"""The servers of the `resilience` benchmark answer; how long it takes is not asserted."""

import os
import sys
from collections.abc import Iterator

import msgspec
import pytest

from benchmarks._driven import Driven, OrderedProcess
from benchmarks._harness import Effort
from benchmarks._processes import Cores, PinnedProcess
from benchmarks.resilience._benchmark import ResilienceBenchmark
from benchmarks.resilience._client import CONNECTIONS
from benchmarks.resilience._orders import Ask
from benchmarks.resilience._refusing import REFUSING
from benchmarks.resilience._server import SERVERS, Service
from hasten._core.errors import InvalidMeasurement

_CORES = Cores.available()
_WRONG = """
from benchmarks._child import serve

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": STATUS, "headers": [(b"content-length", b"%d" % len(BODY))]})
    await send({"type": "http.response.body", "body": BODY})

serve(app)
"""


@pytest.fixture(scope="module")
def client() -> Iterator[OrderedProcess]:
    """Yield the client of servers, suspended."""
    command = [sys.executable, "-m", "benchmarks.resilience._client"]
    with OrderedProcess("client", command, _CORES.client) as process:
        process.suspend()
        yield process


@pytest.mark.parametrize("subject", SERVERS)
def test_every_server_answers_and_ends(subject: str, client: OrderedProcess) -> None:
    """Each serves the app, uses CPU in the process that is named, also after a stop, and is gone at the end."""
    with Service(subject, _CORES.server) as server:
        address = server.address.removeprefix("http://")
        for _ in range(2):
            server.suspend()
            before = server.cpu_seconds()
            with server.awake():
                # Longer than the kernel may take to count the CPU of a process on another core.
                driven = client.measure(Ask(address, server.server_pid, 0.05), 0.05, Driven)
            assert driven.calls >= CONNECTIONS
            assert min(driven.seconds, driven.server_cpu, server.cpu_seconds() - before) > 0.0
        server.resume()
    with pytest.raises(ProcessLookupError):
        os.kill(server.server_pid, 0)


@pytest.mark.parametrize("subject", REFUSING)
def test_every_refusal_is_one(subject: str, client: OrderedProcess) -> None:
    """Each answers all requests with 503, and goes on to do so where it closes the connections."""
    with Service(subject, _CORES.server, "_refusing") as server:
        server.suspend()
        order = Ask(server.address.removeprefix("http://"), server.server_pid, 0.05, refused=True)
        with server.awake():
            driven = client.measure(order, 0.05, Driven)
            assert driven.calls > CONNECTIONS
            with pytest.raises(InvalidMeasurement, match="WrongValueError"):
                client.measure(msgspec.structs.replace(order, refused=False), 0.05, Driven)
        server.resume()


def test_who_is_served_is_not_refused(client: OrderedProcess) -> None:
    """A server that has room does not pass for one that refuses."""
    with Service("uvicorn", _CORES.server) as server, pytest.raises(InvalidMeasurement, match="WrongValueError"):
        client.measure(Ask(server.address.removeprefix("http://"), server.server_pid, 0.05, refused=True), 0.05, Driven)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b'{"message":"Hello Moon!"}'), (503, b'{"message":"Hello World"}'), (200, b"{" * 99)],
    ids=["another", "refused", "longer"],
)
def test_wrong_answers_are_found(status: int, body: bytes, client: OrderedProcess) -> None:
    """An answer that is not the app's makes the measurement invalid."""
    code = _WRONG.replace("BODY", repr(body)).replace("STATUS", str(status))
    with (
        PinnedProcess("wrong", [sys.executable, "-c", code], _CORES.server) as server,
        pytest.raises(InvalidMeasurement, match="WrongValueError"),
    ):
        client.measure(Ask(server.address.removeprefix("http://"), server.pid, 0.0), 0.0, Driven)


def test_a_server_that_closes_is_found(client: OrderedProcess) -> None:
    """A connection that is closed without an answer makes the measurement invalid."""
    code = """
import socket
from benchmarks._child import announce
with socket.create_server(("127.0.0.1", 0)) as listener:
    announce("127.0.0.1:%d" % listener.getsockname()[1])
    while True:
        listener.accept()[0].close()
"""
    with (
        PinnedProcess("closing", [sys.executable, "-c", code], _CORES.server) as server,
        pytest.raises(InvalidMeasurement, match="Connection"),
    ):
        client.measure(Ask(server.address, server.pid, 0.0), 0.0, Driven)


def test_resilience_benchmark_finds_the_rates() -> None:
    """Servers are asked at most, at half of what each can, and at half of what the slowest can."""
    effort = Effort(1, quick=True, only=("limit", "hypercorn"), cases=("hello-*",))
    with ResilienceBenchmark().prepare(effort) as prepared:
        assert {(trial.subject, trial.case) for trial in prepared.trials} == {
            (subject, f"hello-{kind}") for subject in effort.only for kind in ("most", "half", "same")
        }
        assert prepared.conditions["hello-half"].startswith("requests/s: limit ")
        assert prepared.conditions["hello-same"].endswith(" requests/s")
        for trial in prepared.trials:
            if trial.case == "hello-most":
                trial.turn(seed=0)
                assert trial.figures().keys() == {"cpu", "rate"}

"""The subjects of the `response-cache` benchmark answer what they are asked; how long it takes is not asserted."""

import json
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from benchmarks._driven import Driven, OrderedProcess
from benchmarks._harness import Effort
from benchmarks._processes import Cores, PinnedProcess
from benchmarks.response_cache._apps import APPS
from benchmarks.response_cache._benchmark import ResponseCacheBenchmark, _service
from benchmarks.response_cache._client import Ask
from benchmarks.response_cache._work import BODY_BYTES, CONNECTIONS, FIRST, UNCACHED, document, path_of
from hasten._core.errors import InvalidMeasurement

_CORES = Cores.available()
_WRONG = """
from benchmarks._child import serve

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    headers = [(b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": STATUS, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})

serve(app)
"""


@pytest.fixture(scope="module")
def client() -> Iterator[OrderedProcess]:
    """Yield the client, suspended."""
    command = [sys.executable, "-m", "benchmarks.response_cache._client"]
    with OrderedProcess("client", command, _CORES.client) as process:
        process.suspend()
        yield process


def _ask(server: PinnedProcess, *, cached: bool, seconds: float = 0.0) -> Ask:
    return Ask(server.address.removeprefix("http://"), server.pid, seconds, 0.0, cached)


@pytest.mark.parametrize("subject", APPS)
def test_every_subject_answers(subject: str, client: OrderedProcess) -> None:
    """Each subject gives every document; the caches make none of them twice."""
    with _service(subject, _CORES.server) as server:
        # Longer than the kernel may take to count the CPU of a process on another core.
        driven = client.measure(_ask(server, cached=subject not in UNCACHED, seconds=0.05), 0.05, Driven)
        assert driven.calls >= CONNECTIONS
        assert min(driven.seconds, driven.server_cpu, driven.p50, driven.p99) > 0.0
        with urllib.request.urlopen(server.address + path_of(FIRST)) as response:
            body = response.read()
    assert len(body) == BODY_BYTES
    assert json.loads(body) == document(FIRST)


def test_documents_made_again_are_found(client: OrderedProcess) -> None:
    """A service that makes its documents anew does not pass for a cache."""
    with (
        _service("fastapi", _CORES.server) as server,
        pytest.raises(InvalidMeasurement, match="RecomputedError: 32 of 32"),
    ):
        client.measure(_ask(server, cached=True), 0.0, Driven)


@pytest.mark.parametrize(("status", "body"), [(200, b'{"number": 1}'), (503, b"{}")])
def test_wrong_answers_are_found(status: int, body: bytes, client: OrderedProcess) -> None:
    """An answer that is not the document makes the measurement invalid."""
    code = _WRONG.replace("BODY", repr(body)).replace("STATUS", str(status))
    with (
        PinnedProcess("wrong", [sys.executable, "-c", code], _CORES.server) as server,
        pytest.raises(InvalidMeasurement, match="WrongValueError"),
    ):
        client.measure(_ask(server, cached=False), 0.0, Driven)


def test_subjects_are_complete() -> None:
    """There is an app for every subject."""
    assert [subject.name for subject in ResponseCacheBenchmark.subjects] == sorted(
        APPS, key=[subject.name for subject in ResponseCacheBenchmark.subjects].index
    )


def test_response_cache_benchmark_prepares_what_was_chosen() -> None:
    """A chosen subject has a trial, whose figures have the benchmark's units."""
    with ResponseCacheBenchmark().prepare(Effort(1, quick=True, only=("bare",))) as prepared:
        (trial,) = prepared.trials
        trial.turn(seed=0)
        assert trial.figures().keys() == ResponseCacheBenchmark.units.keys()

"""Fixtures for all tests: event loops, real servers, and the watch over blocking calls in our own code."""

import asyncio
import gc
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop
from blockbuster import BlockBuster
from hypothesis import settings

if TYPE_CHECKING:
    from types import FrameType

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_PROJECT = str(Path(__file__).parents[1]) + os.sep
_OURS = str(Path(_PROJECT, "src", "hasten")) + os.sep
_ENVIRONMENT = sys.prefix + os.sep


_OF_THE_TERMINAL = {"COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH"}
_OF_THE_SERVERS = ("HASTEN_TEST_", "HASTEN_REQUIRE_SERVICES", "HASTEN_NO_INSTALL")


class LeftOpen:
    """Fails the run for transports that tests leave open; as an error uvloop's warning would hang (pyproject.toml)."""

    def __init__(self) -> None:
        self._tests: list[str] = []

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, nodeid: str) -> None:
        if str(warning_message.message).startswith("unclosed resource "):
            self._tests.append(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._tests:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in self._tests:
            terminalreporter.write_line(f"LEFT OPEN {nodeid}: a transport, when its loop was closed", red=True)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was collected: thousands of tests, which live until the end.

    It would look at all of it in each full collection: 0.2 s, and some tests make fifty.
    """
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Let no setting of the caller's shell change what the commands do and print, and keep captures out of its home."""
    config.pluginmanager.register(LeftOpen())
    state = tempfile.TemporaryDirectory(prefix="hasten-state-")
    os.environ["XDG_STATE_HOME"] = state.name
    config.add_cleanup(state.cleanup)
    settings.register_profile("patient", deadline=None)  # no example fails for being slow on a busy machine
    settings.load_profile("patient")
    for name in list(os.environ):
        option = name.startswith("HASTEN_") and not name.startswith(_OF_THE_SERVERS)
        if option or name in _OF_THE_TERMINAL:
            del os.environ[name]


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest, guard: BlockBuster) -> Iterator[None]:
    """Let a call that blocks a running event loop raise BlockingError when code of hasten makes it.

    Apps under test may block as they like: what counts is the nearest frame of this project below the call.
    A test marked `may_block` is left alone: it measures blocking calls, which the guard would make slower.
    """
    if request.node.get_closest_marker("may_block"):
        yield
        return
    guard.activate()
    yield
    guard.deactivate()


@pytest.fixture(scope="session")
def guard() -> BlockBuster:
    """Return the watch, not active."""
    blockbuster = BlockBuster()
    for function in blockbuster.functions.values():
        function.can_block_predicate = _unless_ours(function.can_block_predicate)
    # A listener of the ledger, for measuring only: it writes into a large buffer.
    blockbuster.functions["io.BufferedWriter.write"].can_block_in("ledger/_recorder.py", "__call__")
    # The file of a unix socket: once at a server's start, once at its end.
    blockbuster.functions["os.unlink"].can_block_in("server/_port.py", {"close", "_remove_stale"})
    # A small file, once, when an app is made: by most at import.
    blockbuster.functions["io.BufferedReader.read"].can_block_in("slo/_file.py", "read_slo")
    return blockbuster


@pytest.fixture(scope="session", autouse=True)
def finalizers_may_block(guard: BlockBuster) -> Iterator[None]:
    """Do not take what the garbage collector runs for a call of the code that it interrupts.

    The end of grpc.aio's last object waits for its poller's thread. A collection may fall on any line of hasten.
    """
    collecting = False

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal collecting
        collecting = phase == "start"

    def unless_collecting(allowed: Callable[..., bool]) -> Callable[..., bool]:
        return lambda *arguments, **options: collecting or allowed(*arguments, **options)

    for function in guard.functions.values():
        function.can_block_predicate = unless_collecting(function.can_block_predicate)
    gc.callbacks.append(note)
    yield
    gc.callbacks.remove(note)


def _unless_ours(allowed: Callable[..., bool]) -> Callable[..., bool]:
    def may_block(*arguments: object, **options: object) -> bool:
        on_a_thread_of_its_own = threading.current_thread().name == "hasten-admin"  # no request waits for its loop
        return on_a_thread_of_its_own or not _made_by_hasten() or allowed(*arguments, **options)

    return may_block


def _made_by_hasten() -> bool:
    """Tell whether the nearest frame of this project, on the stack of the caller, lies in src/hasten."""
    frame: FrameType | None = sys._getframe(3)  # above: this function, may_block, blockbuster's wrapper
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PROJECT) and not file.startswith(_ENVIRONMENT):
            return file.startswith(_OURS)
        if file.startswith("<frozen importlib"):  # an import reads its file, whoever asks for it
            return False
        frame = frame.f_back
    return False


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    """Return a function that makes a new event loop; the test runs once per kind of loop.

    Use it as `asyncio.Runner(loop_factory=loop_factory)`.
    """
    return asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Return the URL of a real Redis server that holds nothing anybody needs."""
    return _server_url("HASTEN_TEST_REDIS_URL")


@pytest.fixture(scope="session")
def redis_cluster_url() -> str:
    """Return the URL of a real Redis Cluster of three masters that holds nothing anybody needs."""
    return _server_url("HASTEN_TEST_REDIS_CLUSTER_URL")


@pytest.fixture(scope="session")
def memcached_url() -> str:
    """Return the URL of a real Memcached server that holds nothing anybody needs."""
    return _server_url("HASTEN_TEST_MEMCACHED_URL")


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """Return the URL of a real RabbitMQ that all tests share; who harms a broker starts one by `own_server`."""
    return _server_url("HASTEN_TEST_AMQP_URL")


@pytest.fixture(scope="session")
def kafka_place() -> str:
    """Return host:port of a real Kafka that all tests share; who harms a broker starts one by `own_server`."""
    return _server_url("HASTEN_TEST_KAFKA")


@pytest.fixture(scope="session")
def kafka_url(kafka_place: str) -> str:
    """Return the URL of the same Kafka, for a bus."""
    return f"kafka://{kafka_place}"


def _server_url(variable: str) -> str:
    """Return the URL or path in `variable`; without one skip the test, or fail it where every server is required."""
    url = os.environ.get(variable, "")
    if not url:
        reason = f"{variable} is not set; run the tests with `make test` or `scripts/test`"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return url


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """Return a function that gives the path of a foreign peer, by its name in `scripts/services list`.

    Without the peer it skips the test, or fails it where every server is required.
    """
    return lambda name: _server_url(f"HASTEN_TEST_{name.upper().replace('-', '_')}")

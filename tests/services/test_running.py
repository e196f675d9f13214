"""servers: one server, started, stopped, killed and started again, on ports that may be taken."""

import contextlib
import signal
import socket
from pathlib import Path

import pytest

from servers import REDIS, REDIS_CLUSTER, Running, ServerFailed
from tests.own_servers import own_server, place_of


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def codes(running: Running) -> list[int | None]:
    return [one.process.poll() for one in running._processes]


def test_server_ends_with_its_context(tmp_path: Path) -> None:
    """Left, also by an exception, the context manager has ended every process of the server, in order."""
    with contextlib.suppress(ZeroDivisionError), own_server(REDIS_CLUSTER, tmp_path / "cluster") as running:
        pids = running.pids
        assert len(alive(pids)) == 3
        raise ZeroDivisionError
    assert alive(pids) == []
    assert codes(running) == [0, 0, 0]


def test_killed_server_starts_again_at_its_place(tmp_path: Path) -> None:
    """`kill` is SIGKILL; `start` takes the ports of before, and `await_ready` returns when the server answers."""
    with own_server(REDIS, tmp_path / "redis") as running:
        url = running.url
        running.kill()
        assert codes(running) == [-signal.SIGKILL]
        running.start()
        running.await_ready()
        assert running.url == url
        assert REDIS.ready(running.ports)


def test_frozen_server_can_be_stopped(tmp_path: Path) -> None:
    """A server that a test left frozen does not keep the test from its end: after `patience` it is killed."""
    with own_server(REDIS, tmp_path / "redis") as running:
        running.freeze()
        running.stop(patience=0.1)
        assert codes(running) == [-signal.SIGKILL]


def test_server_whose_port_is_taken_starts_elsewhere(tmp_path: Path) -> None:
    """A new server that ends at once, as another has its port, is started again on other ports, from nothing."""
    running = Running(REDIS, place_of(REDIS), tmp_path / "redis")
    with socket.create_server(("127.0.0.1", running.ports[0])):
        taken = running.ports
        try:
            running.start()
            (running.folder / "left").touch()
            running.await_first_ready()
            assert running.ports != taken
            assert not (running.folder / "left").exists()
        finally:
            running.stop()


def test_server_that_starts_again_stays_where_it_was(tmp_path: Path) -> None:
    """A server that is started again does not move when its port is taken: it fails, and its data stay."""
    with own_server(REDIS, tmp_path / "redis") as running:
        running.kill()
        url = running.url
        with socket.create_server(("127.0.0.1", running.ports[0])):
            running.start()
            with pytest.raises(ServerFailed, match="redis ended with code 1: "):
                running.await_ready()
        assert running.url == url
        assert (running.folder / "data").exists()

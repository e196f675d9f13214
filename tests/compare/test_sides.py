"""The two sides: both up together, the idle one at rest, ended by pid on every path."""

import http.client
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hasten._core.errors import ConfigurationError, HastenError, TargetUnreachable
from hasten.compare._sides import RunningSide, Side, Workplace, running, side_of
from hasten.load import Plan
from tests.compare.busy_apps import plan_for, runs, state_of, write_app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(side: RunningSide, path: str) -> bytes:
    """Return what a side answers."""
    connection = http.client.HTTPConnection(urlsplit(side.url).netloc, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_both_are_up_and_are_ended(folder: Path) -> None:
    """Within the block two processes answer, the same app twice if that is wanted; after it neither is there."""
    app = write_app(folder, "one")
    with running(side_of(app, "BEFORE"), side_of(app, "AFTER"), plan_for(), folder, None) as sides:
        assert sides[0].pid != sides[1].pid
        assert answer(sides[0], "/work") == answer(sides[1], "/work")
        assert all(side.clock.read() > 0 for side in sides)
        sides[1].suspend()  # a suspended one has to be ended, too
    assert not any(runs(side.pid) for side in sides)


def test_an_error_ends_both(folder: Path) -> None:
    """Whatever is raised within the block, both are ended."""
    app = write_app(folder, "one")
    seen: list[RunningSide] = []

    def work() -> None:
        with running(side_of(app, "BEFORE"), side_of(app, "AFTER"), plan_for(), folder, None) as sides:
            seen.extend(sides)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(seen) == 2
    assert not any(runs(side.pid) for side in seen)


def test_a_suspended_side_keeps_its_connections(folder: Path) -> None:
    """A side at rest is stopped; resumed, it answers on a connection that it had before."""
    app = write_app(folder, "one")
    with running(side_of(app, "BEFORE"), side_of(app, "AFTER"), plan_for(), folder, None) as (side, _):
        connection = http.client.HTTPConnection(urlsplit(side.url).netloc, timeout=5)
        connection.request("GET", "/work")
        connection.getresponse().read()
        side.suspend()
        os.waitid(os.P_PID, side.pid, os.WSTOPPED | os.WNOWAIT)
        assert state_of(side.pid) == "T"
        side.resume()
        connection.auto_open = 0
        connection.request("GET", "/work")
        assert connection.getresponse().status == 200
        connection.close()


def test_each_is_served_where_its_workplace_is(folder: Path) -> None:
    """Two folders with a module of the same name are two apps."""
    for name, rounds in (("a", 1), ("b", 2)):
        folder.joinpath(name).mkdir()
        write_app(folder / name, "main", rounds)
    before, after = (Side(name=name, app="main:app", workplace=Workplace(folder=folder / name)) for name in ("a", "b"))
    with running(before, after, plan_for(), folder, None) as sides:
        assert [answer(side, "/work") for side in sides] == [b'{"total":0}', b'{"total":1}']


def test_a_side_that_does_not_start_is_one_line(folder: Path) -> None:
    """An app that fails at import says where, one that ends says its last words; the other side is ended."""
    app = write_app(folder, "one")
    folder.joinpath("broken.py").write_text("raise KeyError('DSN')\n")
    folder.joinpath("ends.py").write_text(
        "import os, sys\nprint('no licence', file=sys.stderr, flush=True)\nos._exit(9)\n"
    )
    with (
        pytest.raises(HastenError, match=r"does not import: KeyError: 'DSN' \(.*broken\.py:1\)") as caught,
        running(side_of(app, "BEFORE"), side_of("broken:app", "AFTER"), plan_for(), folder, None),
    ):
        pytest.fail("it cannot have started")
    assert caught.value.exit_code == 2
    with (
        pytest.raises(
            TargetUnreachable, match=r"^before: ends:app: ended with exit code 9 .*; its last words: no licence"
        ),
        running(side_of("ends:app", "BEFORE"), side_of(app, "AFTER"), plan_for(), folder, None),
    ):
        pytest.fail("it cannot have started")


def test_a_side_that_dies_tells_its_last_words(folder: Path) -> None:
    """A process that ends while it is measured is named, with how it ended."""
    app = write_app(folder, "one")
    with running(side_of(app, "BEFORE"), side_of(app, "AFTER"), plan_for(), folder, None) as (before, after):
        os.kill(after.pid, signal.SIGKILL)
        os.waitid(os.P_PID, after.pid, os.WEXITED | os.WNOWAIT)
        before.require_running()
        with pytest.raises(TargetUnreachable, match=r"^after: one:app: was ended by signal 9"):
            after.require_running()


def test_a_url_is_not_started(folder: Path) -> None:
    """A URL's service is left alone: not started, not suspended, not ended; its CPU is known by its port."""
    app = write_app(folder, "one")
    with running(side_of(app, "BEFORE"), side_of(app, "AFTER"), plan_for(), folder, None) as (own, _):
        remote = side_of(own.url, "BEFORE")
        with running(remote, remote, plan_for(), folder, None) as (side, _):
            assert not side.started
            assert side.pid == 0
            side.suspend()
            assert answer(side, "/work")
            assert side.clock.read() > 0
        assert answer(own, "/work")


@pytest.mark.parametrize(
    ("text", "admin", "problem"),
    [
        ("main", "", "BEFORE 'main': neither module:app nor a URL; for example main:app"),
        ("main:", "", "BEFORE 'main:': neither module:app nor a URL"),
        ("ftp://host/x", "", "BEFORE: 'ftp://host/x' is no http or https URL"),
        ("main:app", "http://127.0.0.1:9464", "--admin-before: main:app is no URL; leave it out"),
        ("http://127.0.0.1", "ftp://x", "ftp://x: is no address of an admin port"),
    ],
)
def test_a_wrong_side_is_one_line(text: str, admin: str, problem: str) -> None:
    """What is neither an app nor a URL is named."""
    with pytest.raises(ConfigurationError) as caught:
        side_of(text, "BEFORE", admin=admin)
    assert str(caught.value).startswith(problem)


def test_an_app_is_sent_no_grpc(folder: Path) -> None:
    """A plan of gRPC methods needs URLs, and says so before anything is started."""
    plan = Plan.for_method("grpc://127.0.0.1:1/shop.Shop/Get", rate=10)
    app = side_of("one:app", "BEFORE")
    with (
        pytest.raises(
            ConfigurationError, match=r"^one:app: the plan calls gRPC, and hasten run serves HTTP; start both"
        ),
        running(app, app, plan, folder, None),
    ):
        pytest.fail("it cannot have started")

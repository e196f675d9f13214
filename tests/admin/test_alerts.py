"""Captures that nobody asks for at the admin port: for alerts, holds and missed objectives."""

import asyncio
import contextlib
import http.client
import socket
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hasten.admin._profiles as answers
from hasten._core.signals import LoopHeld
from hasten.admin import AdminAddress
from hasten.admin._app import AdminApp
from hasten.admin._captures import Captures
from hasten.admin._server import AdminThread
from hasten.ledger import Ledger
from hasten.monitor import Monitor
from hasten.monitor import _catalogue as catalogue
from hasten.profiling._triggers import LARGEST_WEBHOOK
from tests.admin.capturing import JSON, PATIENCE, FakeDesk, Port, eventually, port
from tests.profiling.test_triggers import OBJECTIVE, alert, body

# ---- alerts


def test_a_webhook(served: Port) -> None:
    """An alert begins a capture with its labels and its summary; told again it is ignored, with the reason."""
    status, said = served.said("POST", "/alerts", body(alert(instance="a:1")), content_type=JSON)
    assert status == 202
    done = served.until("done")
    assert (done["id"], done["trigger"]) == (said["capture"], "alert")
    assert done["labels"]["alertname"] == "LoopBlocked"
    assert done["labels"]["summary"] == "shop: the event loop has stood still for 6s"
    assert served.desk.made[0][1]["trigger"] == "alert"
    assert served.said("POST", "/alerts", body(alert(instance="a:1"))) == (
        200,
        {"ignored": "LoopBlocked was captured for already"},
    )
    assert served.said("POST", "/alerts", body(alert("DiskFull")))[1]["ignored"].startswith("DiskFull is none of ")
    assert len(served.desk.made) == 1


def test_an_alert_while_one_is_under_way(served: Port) -> None:
    """It is captured behind that one, with its labels; a second one that comes meanwhile is not, and may come again."""
    with served.desk.held():
        served.begin("?seconds=0.1")
        assert served.said("POST", "/alerts", body(alert())) == (202, {"deferred": "a capture is under way"})
        told_again = served.said("POST", "/alerts", body(alert()))
        assert told_again == (200, {"ignored": "LoopBlocked was captured for already"})
    listed = eventually(lambda: served.said("GET", "/profiles")[1], lambda listed: len(listed) == 2)
    assert [one["trigger"] for one in listed] == ["alert", "asked"]
    assert listed[0]["labels"]["alertname"] == "LoopBlocked"


def test_one_alert_waits(tmp_path: Path) -> None:
    """Without a cooldown, too, one alert waits for the capture that is under way, and no others."""
    with port(tmp_path, cooldown=0.0) as served, served.desk.held():
        served.begin()
        assert "deferred" in served.said("POST", "/alerts", body(alert(pod="1")))[1]
        ignored = served.said("POST", "/alerts", body(alert(pod="2")))[1]["ignored"]
        assert ignored == "a capture is under way, and another alert waits for its end"


def test_an_alert_that_would_wait_too_long(tmp_path: Path) -> None:
    """It is not captured when it may be over: the pause is too long here. It may be told again."""
    with port(tmp_path, pause=600.0) as served:
        served.begin()
        served.until("done")
        for _ in range(2):
            ignored = served.said("POST", "/alerts", body(alert()))[1]["ignored"]
            assert ignored == "the last capture is only just over; again in 600.0 s"


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"\xff" * 100, b'{"version":"4"}', b"[" * 200_000])
def test_hostile_webhooks(served: Port, sent: bytes) -> None:
    """They are 400 and one line."""
    status, _, told = served.ask("POST", "/alerts", sent)
    assert (status, told.count(b"\n"), served.desk.made) == (400, 1, [])


def test_a_webhook_that_is_too_long(served: Port) -> None:
    """413 when more than a megabyte has come, and no more of it is read."""
    with socket.create_connection(("127.0.0.1", served.number), timeout=PATIENCE) as client:
        client.sendall(b"POST /alerts HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):  # it may have closed by then
            client.sendall(b" " * (LARGEST_WEBHOOK + 1))
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_webhook_that_does_not_come(served: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is not sent within some seconds is waited for no longer: 408."""
    monkeypatch.setattr(answers, "_PATIENCE", 0.1)
    with socket.create_connection(("127.0.0.1", served.number), timeout=PATIENCE) as client:
        client.sendall(b"POST /alerts HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_webhooks_that_come_slowly_are_few(served: Port) -> None:
    """Eight are read at once; one more is 503, after which Alertmanager asks again; one that breaks off is gone."""
    clients = [socket.create_connection(("127.0.0.1", served.number), timeout=PATIENCE) for _ in range(8)]
    for client in clients:
        client.sendall(b"POST /alerts HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
    eventually(lambda: served.ask("POST", "/alerts", body())[0], lambda status: status == 503)
    for client in clients:
        client.close()
    eventually(lambda: served.ask("POST", "/alerts", body())[0], lambda status: status == 200)


def test_a_storm_of_webhooks(served: Port) -> None:
    """1,000 webhooks, each of other alerts, give one capture, and memory does not grow with them."""
    storm = [body(*[alert(pod=f"{number}-{each}") for each in range(20)]) for number in range(1000)]

    def send(sent: bytes) -> int:
        return served.ask("POST", "/alerts", sent)[0]

    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(send, storm[:100]))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        rest = list(pool.map(send, storm[100:]))
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert sorted(first + rest) == [200] * 999 + [202]
    assert len(served.desk.made) == 1
    assert len(served.said("GET", "/profiles")[1]) == 1
    assert grown < 500_000  # the 900 bodies have 9 MB


# ---- by themselves


def test_a_loop_that_is_blocked(tmp_path: Path) -> None:
    """It is captured while it is blocked, once; not while the app starts."""
    monitor = Monitor("shop")
    now = [100.0]
    monitor.runtime._clock = lambda: now[0]
    with port(tmp_path, monitor=monitor, hold=0.2) as served, _watched(monitor):
        served.captures.armed = False
        now[0] += 5.0
        served.captures._take_hold(5.0, "", over=False)
        assert served.desk.made == []
        served.captures.armed = True
        done = served.until("done")
        assert done["trigger"] == "hold"
        assert done["labels"] == {"held": "4.90 s", "state": "goes on"}
        assert len(served.desk.made) == 1


@contextlib.contextmanager
def _watched(monitor: Monitor) -> Iterator[None]:
    """Have a monitor watch a loop that does not run, as a blocked one does not."""

    async def watch() -> None:
        monitor.runtime.start()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(watch())
    try:
        yield
    finally:
        monitor.runtime.stop()
        loop.close()


def test_a_hold_that_is_over(tmp_path: Path) -> None:
    """The ledger tells of it with its site; one that is short, or the kernel's fault, is none. At the end nothing of
    the captures is left with the ledger."""
    monitor = Monitor("shop")
    ledger = Ledger("shop")
    monitor.watch_ledger(ledger)
    with port(tmp_path, monitor=monitor, hold=0.2) as served:
        eventually(lambda: len(ledger.hooks), lambda count: count == 2)
        for signal in (LoopHeld("a.py:1 f", 0.1, preempted=False), LoopHeld("a.py:1 f", 0.3, preempted=True)):
            ledger.hooks[-1](signal)
        ledger.hooks[-1](LoopHeld("shop.py:7 hash_password", 0.3, preempted=False))
        done = served.until("done")
        assert done["labels"] == {"site": "shop.py:7 hash_password", "held": "300 ms", "state": "over"}
        ledger.hooks[-1](LoopHeld("shop.py:7 hash_password", 0.3, preempted=False))
        assert len(served.said("GET", "/profiles")[1]) == len(served.desk.made) == 1
    assert len(ledger.hooks) == 1


def test_an_objective_that_is_missed(tmp_path: Path) -> None:
    """A p99 over its threshold is captured, with the figures."""
    monitor = Monitor("shop", objectives=[OBJECTIVE])
    durations = monitor._recorder.histograms(catalogue.HTTP_SERVER_DURATION)
    with port(tmp_path, monitor=monitor) as served:
        end = time.monotonic() + PATIENCE
        while not served.desk.made and time.monotonic() < end:
            durations.child("GET", "/orders", "200").observe(0.4)
        done = served.until("done")
    assert done["trigger"] == "p99"
    assert (done["labels"]["slo"], done["labels"]["objective"]) == ("orders-fast", "50.0 ms")


def test_nothing_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options a process captures when it is asked, and for no alert; the folder is the user's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monitor = Monitor("shop")
    captures = Captures(monitor, desk=FakeDesk())
    app = AdminApp(monitor, AdminAddress(port=0), captures=captures)
    listener, _ = AdminAddress(port=0).bind()
    connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=PATIENCE)
    thread = AdminThread(app, listener, background=app.background)
    thread.start()
    try:
        connection.request("POST", "/alerts", body=body(alert()))
        assert b"none of the alerts" in connection.getresponse().read()
        connection.request("POST", "/profile")
        assert connection.getresponse().read().startswith(b'{"id":')
    finally:
        connection.close()
        thread.stop()
    assert len(list((tmp_path / "hasten/profiles/shop").glob("*.entry.json"))) <= 1

"""The admin port of all workers: their sums, and whether one of them is ready."""

import asyncio
import contextlib
import json
import signal
import socket
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.profiling.test_triggers import alert, body
from tests.workers.running import Client, get, running

LISTENING = r"listening on (http://\S+)"
OF_ALL = r"of all workers on (http://\S+)"
COUNT = "http_server_request_duration_seconds_count"


def ports(admin: str) -> set[str]:
    """Return where the workers' own admin ports are, when all of them have said that they are ready."""
    while True:
        with contextlib.suppress(urllib.error.HTTPError):
            workers = json.loads(get(f"{admin}/readyz"))["workers"]
            if all(worker["ok"] for worker in workers):
                return {worker["url"] for worker in workers}


def test_workers_are_one_service(tmp_path: Path) -> None:
    """Requests of all are one sum, gauges have the numbers of slots, and after a restart the new ones are asked."""
    with running(tmp_path, "--workers", "2", "--admin", "127.0.0.1:0", "--lame-duck", "0ms") as service:
        url = service.until(LISTENING)[1]
        admin = service.until(OF_ALL)[1]
        asyncio.run(Client(url).drive(40, most=1))
        metrics = get(f"{admin}/metrics")
        counts = [line for line in metrics.splitlines() if line.startswith(COUNT)]
        assert sum(float(line.rpartition(" ")[2]) for line in counts) == 40
        assert all(f'process_start_time_seconds{{worker="{number}"}}' in metrics for number in "01")
        before = ports(admin)
        assert len(before) == 2
        service.signal(signal.SIGHUP)
        service.until("restarted: 2 workers")
        after = ports(admin)
        assert len(after) == 2
        assert not after & before


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The next free one takes its place, as for a process alone."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, "--workers", "1", "--admin", f"127.0.0.1:{port}") as service:
            admin = service.until(OF_ALL)[1]
            assert int(admin.rpartition(":")[2]) > port
            assert ports(admin)


def test_an_admin_port_that_cannot_be(tmp_path: Path) -> None:
    """It is one line, before any worker starts."""
    with running(tmp_path, "--workers", "2", "--admin", "192.0.2.1:9464", "--admin-token", "t") as service:
        assert service.ended() == 2
        (line,) = service.lines
        assert line.startswith("error: admin 192.0.2.1:9464: Cannot assign requested address")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of the admin port of two workers, with the token."""
    folder = tmp_path_factory.mktemp("service")
    options = ("--workers", "2", "--admin", "127.0.0.1:0", "--admin-token", "secret", "--profile")
    state = {"XDG_STATE_HOME": str(folder)}
    with running(folder, *options, environment=state) as service:
        url = service.until(OF_ALL)[1]
        authorization = {"authorization": "Bearer secret"}
        with httpx.Client(base_url=url, headers=authorization, trust_env=False, timeout=30.0) as client:
            yield client


def test_a_profile_of_one_worker(asking: httpx.Client) -> None:
    """The worker that is named begins it, and it is found without naming anybody."""
    begun = asking.post("/profile?worker=1&seconds=0.1")
    assert begun.status_code == 202, begun.text
    at = begun.headers["location"]
    while (got := asking.get(at)).status_code == 202:
        pass
    assert got.status_code == 200
    assert at.rpartition("/")[2] in [entry["id"] for entry in asking.get("/profiles?worker=1").json()]
    page = asking.get(f"{at}?format=html")
    assert "sandbox" in page.headers["content-security-policy"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_alerts_go_to_all_workers(asking: httpx.Client) -> None:
    """Each captures what it does then: nobody knows yet which one it is about."""
    told = asking.post("/alerts", content=body(alert()))
    assert told.status_code == 202, told.text
    for number in "01":
        again = asking.post(f"/alerts?worker={number}", content=body(alert()))
        assert (again.status_code, list(again.json())) == (200, ["ignored"]), again.text  # it knows this one


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "said"),
    [
        ("GET", "/ledger", {}, 400, "say which worker, ?worker=NUMBER; there is 0, 1"),
        ("GET", "/ledger?worker=7", {}, 404, "no such worker; there is 0, 1"),
        ("GET", "/ledger?worker=0&worker=1", {}, 404, "no such worker; there is 0, 1"),
        ("GET", "/ledger?worker=0", {}, 200, '"service":"shop"'),
        ("GET", "/profile?worker=0", {}, 405, "only POST"),
        ("GET", "/profiles/none", {}, 404, "no such profile; /profiles has all"),
        ("GET", "/profiles/%0d%0ax:%20y%0d%0a%0d%0a", {}, 404, "no such profile"),
        ("GET", "/traces/4bf92f3577b34da6a3ce929d0e0e4736?worker=1", {}, 200, '"worker":"1"'),
        ("POST", "/profile?worker=0", {"authorization": "Bearer wrong"}, 401, "send Authorization"),
        ("POST", "/alerts", {"authorization": ""}, 401, "send Authorization"),
        ("POST", "/alerts", {}, 400, ""),
        ("POST", "/metrics", {}, 405, "only GET and HEAD"),
        ("GET", "/nothing", {}, 404, "/alerts, /ledger, /livez"),
    ],
)
def test_what_is_asked_of_workers(
    asking: httpx.Client, method: str, path: str, fields: dict[str, str], status: int, said: str
) -> None:
    """A worker is named where there are several, its own refusals come back, and who may not ask reaches none."""
    answer = asking.request(method, path, headers=fields)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_pages_of_browsers_begin_nothing(tmp_path: Path) -> None:
    """Without a token, a worker sees by the fields that come with the question that a page asks."""
    with running(tmp_path, "--workers", "1", "--admin", "127.0.0.1:0") as service:
        url = service.until(OF_ALL)[1]
        answer = httpx.post(f"{url}/profile", headers={"origin": "http://evil.example"}, trust_env=False)
        assert answer.status_code == 403
        assert httpx.get(f"{url}/ledger", trust_env=False).status_code == 200  # the only one there is

"""Workers that are replaced, crash, and come and go: real processes, and clients that lose nothing."""

import asyncio
import os
import signal
from pathlib import Path

from tests.workers.running import APP, Client, get, running

LISTENING = r"listening on (http://\S+) with"
BROKEN = "raise RuntimeError('no longer')\n"


def test_requests_are_spread(tmp_path: Path) -> None:
    """Of many connections each worker gets its share: busiest to idlest at most 1.3, in requests."""
    with running(tmp_path, "--workers", "2") as service:
        url = service.until(LISTENING)[1]

        client = Client(url)
        for _ in range(3):
            asyncio.run(client.drive(500, most=2))
        assert (client.lost, client.answered.total()) == ([], 3000)
        assert {int(pid) for pid in client.answered} == set(service.workers())
        assert max(client.answered.values()) / min(client.answered.values()) <= 1.3
        service.signal(signal.SIGTERM)
        assert service.ended() == 0


def test_a_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    """SIGHUP replaces all workers by new code; clients that honour `Connection: close` lose no request, twice."""
    with running(tmp_path, "--workers", "2", "--lame-duck", "700ms") as service:
        url = service.until(LISTENING)[1]
        old = set(service.workers())
        (tmp_path / "shop.py").write_text(APP.replace("return os.getpid()", "return -os.getpid()"))

        async def drive() -> list[Client]:
            busy, slow, idle = Client(url), Client(url, "/slow"), Client(url)
            driving = [asyncio.ensure_future(one) for one in (busy.drive(20), slow.drive(8), idle.drive(8, 0.4))]
            for _ in range(2):
                service.signal(signal.SIGHUP)
                await asyncio.to_thread(service.until, "restarted: 2 workers")
            for client in (busy, slow, idle):
                client.stop()
            await asyncio.gather(*driving)
            return [busy, slow, idle]

        clients = asyncio.run(drive())
        assert [client.lost for client in clients] == [[], [], []]
        now = set(service.workers())
        assert not now & old
        assert {int(pid) for pid in clients[0].answered} >= {*old, *(-pid for pid in now)}


def test_a_version_that_does_not_start(tmp_path: Path) -> None:
    """SIGHUP with broken code keeps the workers that there are, and says why; mended, it goes through."""
    with running(tmp_path, "--workers", "2") as service:
        url = service.until(LISTENING)[1]
        old = set(service.workers())
        (tmp_path / "shop.py").write_text(BROKEN)
        service.signal(signal.SIGHUP)
        said = service.until("does not start").string
        assert "does not import: RuntimeError: no longer" in said
        assert "stays" in said
        assert set(service.workers()) == old
        assert int(get(f"{url}/pid")) in old
        (tmp_path / "shop.py").write_text(APP)
        service.signal(signal.SIGHUP)
        service.until("restarted: 2 workers")
        assert not set(service.workers()) & old


def test_a_crash(tmp_path: Path) -> None:
    """A worker that is killed is said with its signal, and another one takes its place at once."""
    with running(tmp_path, "--workers", "1") as service:
        url = service.until(LISTENING)[1]
        (worker,) = service.workers()
        os.kill(worker, signal.SIGKILL)
        assert service.until("SIGKILL").string == (
            f"hasten: shop: worker {worker} was ended by SIGKILL; another one starts now\n"
        )
        assert get(f"{url}/pid") != str(worker)  # it has waited in the socket, which nobody has closed
        assert service.workers() != [worker]


def test_crashes_in_a_row(tmp_path: Path) -> None:
    """While the next worker of a slot waits, the others answer all that comes, and it comes back."""
    with running(tmp_path, "--workers", "2") as service:
        url = service.until(LISTENING)[1]
        good, bad = service.workers()
        for again in ("now", "in"):
            os.kill(bad, signal.SIGKILL)
            service.until(f"worker {bad} was ended by SIGKILL; another one starts {again}")
            answers: set[int] = set()
            while again == "now" and len(answers) < 2:  # until the next one serves
                answers |= {int(get(f"{url}/pid"))} - {bad}
            bad = next(iter(answers - {good}), bad)
        assert {get(f"{url}/pid") for _ in range(20)} == {str(good)}
        while int(get(f"{url}/pid")) == good:
            pass


def test_more_and_fewer(tmp_path: Path) -> None:
    """SIGTTIN adds a worker and SIGTTOU takes one away, but not the last."""
    with running(tmp_path, "--workers", "1") as service:
        url = service.until(LISTENING)[1]
        service.signal(signal.SIGTTIN)
        service.until("2 workers")
        assert len(service.workers()) == 2
        service.signal(signal.SIGTTOU)
        service.until("1 worker$")
        service.signal(signal.SIGTTOU)
        assert get(f"{url}/pid")
        service.signal(signal.SIGTERM)
        assert service.ended() == 0


def test_as_many_as_cores(tmp_path: Path) -> None:
    """auto has as many workers as there are cores for the process."""
    with running(tmp_path, "--workers", "auto") as service:
        count = int(service.until(r"with (\d+) worker")[1])
        assert count <= len(os.sched_getaffinity(0))
        assert len(service.workers()) == count

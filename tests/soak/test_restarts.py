"""Rolling restarts under load, often: `make soak`; the short form stands in tests/workers."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.workers.running import Client, running

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

RESTARTS = 10
REQUESTS = 100_000


def test_restarts_lose_nothing(tmp_path: Path) -> None:
    """Of 100,000 requests on kept connections, some busy, some idle, some slow, 10 rolling restarts lose none."""
    with running(tmp_path, "--workers", "2", "--lame-duck", "700ms") as service:
        url = service.until(r"listening on (http://\S+) with")[1]

        async def drive() -> list[Client]:
            busy, slow, idle = Client(url), Client(url, "/slow"), Client(url)
            driving = [asyncio.ensure_future(one) for one in (busy.drive(32), slow.drive(8), idle.drive(16, 0.5))]
            for _ in range(RESTARTS):
                service.signal(signal.SIGHUP)
                await asyncio.to_thread(service.until, "restarted: 2 workers")
            while busy.answered.total() < REQUESTS:
                await asyncio.sleep(0)
            for client in (busy, slow, idle):
                client.stop()
            await asyncio.gather(*driving)
            return [busy, slow, idle]

        clients = asyncio.run(drive())
        assert [client.lost for client in clients] == [[], [], []]
        assert len(clients[0].answered) == 2 + 2 * RESTARTS

"""Workers that have done enough, or grown too large, are replaced; requests notice nothing."""

import asyncio
from pathlib import Path

from tests.workers.running import Client, get, running

LISTENING = r"listening on (http://\S+)"


def test_after_so_many_requests(tmp_path: Path) -> None:
    """A worker is replaced after --max-requests, and clients that honour `Connection: close` lose none."""
    with running(tmp_path, "--max-requests", "500", "--lame-duck", "300ms") as service:
        url = service.until(LISTENING)[1]
        (old,) = service.workers()

        async def drive() -> Client:
            client = Client(url)
            driving = asyncio.ensure_future(client.drive(4))
            said = await asyncio.to_thread(service.until, r"is replaced: it has answered (\d+) requests")
            assert int(said[1]) >= 500
            await asyncio.to_thread(service.until, rf"worker \d+ takes the place of {old}")
            client.stop()
            await driving
            return client

        client = asyncio.run(drive())
        assert client.lost == []
        assert str(old) in client.answered


def test_with_so_much_memory(tmp_path: Path) -> None:
    """A worker whose memory in RAM is above --max-memory is replaced by one that is small again."""
    with running(tmp_path, "--max-memory", "200mb", "--lame-duck", "300ms") as service:
        url = service.until(LISTENING)[1]
        (old,) = service.workers()
        assert get(f"{url}/hold") == str(old)
        assert int(service.until(rf"worker {old} is replaced: it has (\d+) MB in RAM")[1]) > 200
        service.until(rf"worker \d+ takes the place of {old}")
        while get(f"{url}/pid") == str(old):
            pass  # until it is told to leave, it may still accept

"""A host that goes without a word, and is removed whatever happens."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from hasten.drill import Impossible
from hasten.drill._namespace import Namespace, namespace

pytestmark = pytest.mark.may_block

ECHO = """
import asyncio, sys

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)

async def main():
    server = await asyncio.start_server(echo, sys.argv[1], 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
SILENT = 0.3
"""Seconds after which there is no answer: one comes in a millisecond."""


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host; where none can be made the test is skipped."""
    with ExitStack() as made:
        try:
            one = made.enter_context(namespace())
        except Impossible as error:
            pytest.skip(str(error))
        yield one


@asynccontextmanager
async def echoing(host: Namespace) -> AsyncIterator[int]:
    """Have an echo there, and give its port."""
    command = (*host.entering, sys.executable, "-c", ECHO, host.address)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def devices() -> str:
    listed = subprocess.run(["ip", "-oneline", "link"], capture_output=True, text=True, check=True, timeout=10)
    return listed.stdout


def test_it_goes_and_comes_back(host: Namespace) -> None:
    """No connection is made while it is gone, and one that was made is silent; it goes on when the host is back."""

    async def scenario() -> None:
        async with echoing(host) as port:
            reader, writer = await asyncio.open_connection(host.address, port)
            writer.write(b"before\n")
            assert await reader.readline() == b"before\n"
            async with host.gone():
                writer.write(b"meanwhile\n")
                for waits in (reader.readline(), asyncio.open_connection(host.address, port)):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(waits, SILENT)
            assert await reader.readline() == b"meanwhile\n"
            writer.close()
            await writer.wait_closed()

    asyncio.run(scenario())


def test_two_hosts(host: Namespace) -> None:
    """Each has a network of its own."""
    with namespace() as other:
        assert other.address != host.address
        assert other.name in devices()
    assert other.name not in devices()
    assert host.name in devices()


def test_it_is_removed_when_the_block_fails(host: Namespace) -> None:
    """Neither the namespace nor the device is left, also where the link is down."""

    async def scenario() -> None:
        with namespace() as other:
            failing.append(other.name)
            async with other.gone():
                raise LookupError

    failing: list[str] = []
    with pytest.raises(LookupError):
        asyncio.run(scenario())
    assert failing[0] not in devices()
    assert not Path("/run/netns", failing[0]).exists()


def test_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not make one hears why."""
    refusing = tmp_path / "ip"
    refusing.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 2\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Impossible, match=r"ip netns add hasten\w+: Operation not permitted"), namespace():
        pass


def test_it_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without iproute2 there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Impossible, match="install iproute2"), namespace():
        pass

"""Servers of a test's own, which it may stop, kill, freeze, fill up and start again; the shared ones are left alone.

They are started as `scripts/services` starts those that all tests share. Start them in the test's main thread: a
server ends with the thread that started it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import Running, Server


@contextmanager
def own_server(server: Server, folder: Path) -> Iterator[Running]:
    """Start a server (`servers.RABBITMQ`, `servers.KAFKA`), give it when it answers, and end it.

    Args:
      folder: Of the server's own; it is made.
    """
    with Running(server, place_of(server), folder) as running:
        yield running


def place_of(server: Server) -> str:
    """Return where a server is found; without it skip the test, or fail it where every server is required."""
    place = server.find()
    if place is None:
        reason = f"{server.name} is missing: {server.remedy()}"
        if os.environ.get("HASTEN_REQUIRE_SERVICES", "") not in {"", "0"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return place

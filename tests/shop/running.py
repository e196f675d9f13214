"""Starts an edition of the shop in a process of its own and stops it."""

import os
import selectors
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from examples.shop.launcher import ROOT
from tests.cache.backplanes.servers import RedisServer

START_TIMEOUT = 50.0


@dataclass(frozen=True, slots=True)
class Launched:
    """A launcher that said where it listens.

    Attributes:
      urls: Of the storefronts.
    """

    process: subprocess.Popen[str]
    urls: list[str]

    @property
    def url(self) -> str:
        """Of the first storefront."""
        return self.urls[0]

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()
            self.process.communicate()


def launch(command: list[str], redis: str = "", broker: str = "", topic: str = "") -> Launched:
    """Start a launcher with a Python command line and wait for the line that tells its addresses."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "SHOP_REDIS_URL": redis, "SHOP_BROKER_URL": broker, "SHOP_TOPIC": topic},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(START_TIMEOUT)
    line = process.stdout.readline() if ready else ""
    if "listening on" not in line:
        process.terminate()
        _, messages = process.communicate(timeout=20)
        raise AssertionError(f"the shop did not start: {line}{messages}")
    return Launched(process, line.partition("listening on ")[2].split())


@dataclass(frozen=True, slots=True)
class Shop:
    """A running edition and the database that it works on.

    Attributes:
      http: Asks its first storefront.
      urls: Of all its storefronts.
      redis: Its own one, if it has one.
    """

    http: httpx.Client
    database: Path
    urls: Sequence[str] = ()
    redis: RedisServer | None = None

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, values).fetchall()

    def value(self, query: str, *values: object) -> Any:
        """Ask the database for one value."""
        return self.rows(query, *values)[0][0]

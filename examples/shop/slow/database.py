"""The shop's SQLite file: one connection per thread, opened when the thread first asks."""

import sqlite3
import threading
from pathlib import Path

from examples.shop.slow.settings import settings


class Database:
    """Connections to one file; rows come as `sqlite3.Row`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=5.0)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = NORMAL")
            self._local.connection = connection
        return connection


database = Database(settings.database)

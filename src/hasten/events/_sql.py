"""One statement on a connection that a user brings, whatever its driver.

Statements are written with `?` for values, give their result by RETURNING, and are the same for SQLite (3.35 or later)
and PostgreSQL. No driver is imported: who brings a connection has imported its driver.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from hasten._core.errors import ConfigurationError

Dialect = Literal["sqlite", "postgresql"]
Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]
"""A statement and its values."""
_DRIVERS: dict[str, Dialect] = {
    "sqlite3": "sqlite",
    "aiosqlite": "sqlite",
    "psycopg": "postgresql",
    "asyncpg": "postgresql",
}
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}(\.[a-z_][a-z0-9_]{0,47})?")


def checked_table(name: str, where: str) -> str:
    """Return a table's name, which goes into statements as it is.

    Raises:
      ConfigurationError: it is not plain lower case letters, digits and `_`, maybe after a schema's.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{where}(table={name!r})", "is no plain name", "a-z, 0-9 and _, at most 48")
    return name


def index_statement(table: str, suffix: str, columns: str, dialect: Dialect) -> str:
    """Return the statement that makes an index where there is none; `columns` may have a WHERE behind it."""
    schema, dot, plain = table.rpartition(".")
    name = f"{plain}_{suffix}"
    if dialect == "sqlite":  # which wants the schema before the index, and not before the table
        return f"CREATE INDEX IF NOT EXISTS {schema}{dot}{name} ON {plain} {columns}"
    return f"CREATE INDEX IF NOT EXISTS {name} ON {table} {columns}"


def dialect_of(connection: Any) -> Dialect:
    """Return which SQL a connection speaks.

    Raises:
      ConfigurationError: it is none of a driver that is known.
    """
    return _DRIVERS[_driver_of(type(connection))]


def execute_sync(connection: Any, statement: str, values: Sequence[Any] = ()) -> list[Row]:
    """Run a statement on a connection of sqlite3 or psycopg, in whatever transaction it is; return its rows.

    Raises:
      ConfigurationError: it is a connection of another kind.
    """
    kind = type(connection)
    driver = _driver_of(kind)
    if driver not in {"sqlite3", "psycopg"} or _is_async(kind):
        raise ConfigurationError(
            f"{kind.__module__}.{kind.__qualname__}", "is no blocking connection", "await the other"
        )
    cursor = connection.execute(_written_for(driver, statement), values)
    return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


async def execute(connection: Any, statement: str, values: Sequence[Any] = ()) -> list[Row]:
    """Run a statement on a connection of aiosqlite, psycopg's `AsyncConnection` or asyncpg; see `execute_sync`.

    Raises:
      ConfigurationError: it is a connection of another kind.
    """
    kind = type(connection)
    driver = _driver_of(kind)
    written = _written_for(driver, statement)
    if driver == "asyncpg":
        return [tuple(row) for row in await connection.fetch(written, *values)]
    if not _is_async(kind):
        raise ConfigurationError(
            f"{kind.__module__}.{kind.__qualname__}", "blocks the event loop", "use the _sync twin"
        )
    cursor = await connection.execute(written, values)
    rows = [tuple(row) for row in await cursor.fetchall()] if cursor.description else []
    await cursor.close()
    return rows


def _driver_of(kind: type[Any]) -> str:
    """Return the package that a connection's class, or one that it inherits from, comes from."""
    for each in kind.__mro__:
        package = each.__module__.partition(".")[0]
        if package in _DRIVERS:
            return package
    raise ConfigurationError(_name_of(kind), "is no connection that is known", f"bring one of {', '.join(_DRIVERS)}")


def _is_async(kind: type[Any]) -> bool:
    names = {(each.__module__.partition(".")[0], each.__name__) for each in kind.__mro__}
    return bool(names & {("aiosqlite", "Connection"), ("psycopg", "AsyncConnection")})


@lru_cache(maxsize=256)
def _written_for(driver: str, statement: str) -> str:
    """Return a statement with the driver's own placeholders."""
    if driver == "psycopg":
        return statement.replace("%", "%%").replace("?", "%s")
    if driver == "asyncpg":
        first, *others = statement.split("?")
        return first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))
    return statement


def _name_of(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"

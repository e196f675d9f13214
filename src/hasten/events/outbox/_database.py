"""The contract of a relay's own way to the database, beside the connections that users write with."""

from collections.abc import Sequence
from typing import Protocol

from hasten.events._sql import Dialect, Row, Statement

__all__ = ("Database", "Dialect", "Row", "Statement")


class Database(Protocol):
    """Runs statements for a relay; adapters: hasten.events.outbox.{sqlite,postgres}.

    Attributes:
      dialect: Which SQL it speaks.
    """

    dialect: Dialect

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run statements in one transaction, and return the rows of each.

        Raises:
          Exception: the driver's own; nothing of it is done then, or nobody knows. The next call connects anew.
        """

    async def aclose(self) -> None:
        """Close; the next call connects anew."""

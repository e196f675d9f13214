"""What is consumed goes on being consumed: opened again over each new connection, until it succeeds."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from hasten.events._errors import BrokerError
from hasten.events.brokers._amqp_channel import ConnectionLost
from hasten.events.brokers._amqp_connection import Connection
from hasten.events.brokers._amqp_link import Link
from hasten.resilience import RetryPolicy

_PAUSES = RetryPolicy(first_backoff=0.1, longest_backoff=2.0, jitter=0.5)
_logger = logging.getLogger("hasten.events")


class Renewal:
    """Opens something again, as soon as it can be done.

    Args:
      reopen: Opens it over a connection.
    """

    def __init__(self, link: Link, reopen: Callable[[Connection], Awaitable[None]]) -> None:
        self._link = link
        self._reopen = reopen
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Open it, unless that is under way."""
        if self._task is None or self._task.done():
            self._task = self._link.spawn(self._renew())

    def end(self) -> None:
        """Open it no more."""
        if self._task is not None:
            self._task.cancel()

    async def _renew(self) -> None:
        attempt = 0
        while True:
            connection = await self._link.get()
            try:
                await self._reopen(connection)
            except ConnectionLost:
                await asyncio.sleep(0)  # until the link knows it too
            except BrokerError as error:
                attempt += 1
                _logger.warning("%s", error)
                await asyncio.sleep(_PAUSES.delay(attempt, random.random))
            else:
                return

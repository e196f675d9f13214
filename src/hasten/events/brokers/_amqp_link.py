"""Keeps one connection to a broker: made again when it is lost, at one of several hosts, until it is closed."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers._amqp_connection import Connection, connect
from hasten.events.brokers._amqp_url import Place
from hasten.resilience import RetryPolicy

_PAUSES = RetryPolicy(first_backoff=0.05, longest_backoff=0.5, jitter=0.5)
"""Between two tries: short, so that consumers go on within two seconds after a broker is back, its queues take one."""
_logger = logging.getLogger("hasten.events")


class Tenant(Protocol):
    """Who uses the connection."""

    async def move_in(self, connection: Connection) -> None:
        """Take a new connection into use.

        Raises:
          BrokerError: it is of no use; another will be made.
        """

    def move_out(self) -> None:
        """Do without: the connection is lost."""


class Link:
    """A connection that is made again.

    Args:
      place: Of the broker; its hosts are tried in turn, beginning behind the one that was lost.
      tenant: Told of each connection.
      random: A number from 0 to 1 for each pause.
    Attributes:
      connection: The one that is in use; None while there is none.
    """

    def __init__(self, place: Place, tenant: Tenant, random: Callable[[], float] = random.random) -> None:
        self.connection: Connection | None = None
        self._place = place
        self._tenant = tenant
        self._random = random
        self._host = 0
        self._keeper: asyncio.Task[None] | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._made = asyncio.Event()

    async def start(self) -> None:
        """Connect to the first host that answers, and keep connected from then on.

        Raises:
          BrokerUnavailable: none does, or they refuse us.
        """
        await self._try_hosts()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def get(self) -> Connection:
        """Return the connection, when there is one."""
        while self.connection is None:
            await self._made.wait()
        return self.connection

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something beside; it ends with the link."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def aclose(self) -> None:
        """Close the connection, and make no other."""
        tasks = [*self._work, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        connection = self.connection
        if connection is not None:
            await connection.aclose()
            self._leave()

    async def _keep(self) -> None:
        """Make the connection again whenever it is lost."""
        while True:
            connection = await self.get()
            reason = await asyncio.shield(connection.closed)
            self._leave()
            _logger.warning("%s: %s; connecting again", self._place.name, reason)
            await self._connect_again()
            _logger.info("%s: connected again", self._place.name)

    def _leave(self) -> None:
        self.connection = None
        self._made.clear()
        self._tenant.move_out()

    async def _connect_again(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            await asyncio.sleep(_PAUSES.delay(attempt, self._random))
            try:
                await self._try_hosts()
            except BrokerError as error:
                _logger.debug("%s", error)
                if attempt % 30 == 0:
                    _logger.warning("%s: still not connected: %s", self._place.name, error.reason)
            else:
                return

    async def _try_hosts(self) -> None:
        """Connect to one of the hosts.

        Raises:
          BrokerUnavailable: it cannot be done; with each one's reason.
        """
        reasons: list[str] = []
        for _ in self._place.hosts:
            host, port = self._place.hosts[self._host]
            self._host = (self._host + 1) % len(self._place.hosts)
            try:
                connection = await connect(self._place, host, port)
            except BrokerUnavailable as error:
                reasons.append(error.reason)
                continue
            try:
                await self._tenant.move_in(connection)
            except BrokerError as error:
                reasons.append(error.reason)
                await connection.aclose()
                self._tenant.move_out()
                continue
            except BaseException:
                connection.abort("closed")
                raise
            self.connection = connection
            self._made.set()
            return
        raise BrokerUnavailable(self._place.name, "; ".join(dict.fromkeys(reasons)))

"""Clients that send again what is not answered: what keeps an overload going after its cause has gone."""

import asyncio
import random
from dataclasses import dataclass, field
from time import monotonic

from hasten.drill._stage import Service
from hasten.http.client import Client, HttpError, Limits
from hasten.resilience import DeadlineExceeded

_ATTEMPTS = 3
_TIMEOUT = 0.1  # seconds of each
_PAUSE = 0.1  # seconds between two, at most
_OVERLOAD, _AFTER = 2.0, 0.8  # times the peak
_ENOUGH = 0.95
OK = 200


@dataclass(slots=True)
class Clients:
    """Sends requests at a rate, each of them up to three times.

    Attributes:
      sent, answered: Requests, by the second in which they came.
    """

    client: Client
    path: str
    chance: random.Random
    sent: dict[int, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)

    async def drive(self, rate: float, first: int, seconds: int) -> None:
        """Send for so many seconds, the first of which is counted as `first`; then wait for what is under way."""
        began = monotonic()
        at = 0.0
        async with asyncio.TaskGroup() as group:
            while (at := at + self.chance.expovariate(rate)) < seconds:
                if (wait := began + at - monotonic()) > 0.001:
                    await asyncio.sleep(wait)
                group.create_task(self._request(first + int(at)))

    async def _request(self, second: int) -> None:
        self.sent[second] = self.sent.get(second, 0) + 1
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE * self.chance.random())
            try:
                response = await self.client.get(self.path, timeout=_TIMEOUT)
            except (HttpError, DeadlineExceeded):
                continue
            if response.status == OK:
                self.answered[second] = self.answered.get(second, 0) + 1
                return


async def recovery(service: Service, path: str, peak: float, *, quick: bool) -> float:
    """Return the seconds from an overload's end until 95 % are answered again; infinite if they never are."""
    overload, after = (1, 2) if quick else (4, 10)
    limits = Limits(connections=2000)
    async with Client(service.url, retry=None, breaker=None, limits=limits) as client:
        clients = Clients(client, path, random.Random(1))
        async with asyncio.TaskGroup() as group:
            group.create_task(clients.drive(_OVERLOAD * peak, -overload, overload))
            await asyncio.sleep(overload)
            group.create_task(clients.drive(_AFTER * peak, 0, after))
        for second in range(after):
            if clients.answered.get(second, 0) >= _ENOUGH * clients.sent.get(second, 1):
                return float(second + 1)
    return float("inf")

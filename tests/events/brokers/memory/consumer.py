"""A consumer and messages for the tests of files."""

import asyncio
import time
from pathlib import Path

from hasten.events import Delivery, Envelope, Intake, Subscription
from hasten.events.brokers.memory import MemoryBroker
from tests.events.brokers.adapter import LONGEST, eventually

TOPIC, GROUP = "orders", "billing"


class Reader:
    """A consumer that settles only what it is told to.

    Attributes:
      got: What was delivered.
    """

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.intake: Intake

    async def subscribe(self, broker: MemoryBroker, prefetch: int = 1000, *, ordered: bool = False) -> "Reader":
        wanted = Subscription(topic=TOPIC, group=GROUP, prefetch=prefetch, ordered=ordered)
        self.intake = await broker.subscribe(wanted, self.got.append)
        return self

    async def has(self, count: int) -> None:
        """Wait until there are so many."""

        async def there() -> bool:
            return len(self.got) >= count

        await eventually(there)

    @property
    def ids(self) -> list[str]:
        return [each.envelope.id for each in self.got]


async def opened(file: Path, **options: int) -> MemoryBroker:
    """Return a broker that is started."""
    broker = MemoryBroker(file, **options)
    await broker.start()
    return broker


def message(name: str, key: str = "") -> Envelope:
    return Envelope(topic=TOPIC, body=b"{}", content_type="application/json", id=name, key=key)


async def publish(broker: MemoryBroker, *names: str, delay: float = 0.0) -> None:
    deadline = time.monotonic() + LONGEST
    await asyncio.gather(*(broker.publish(message(name), deadline=deadline, delay=delay) for name in names))

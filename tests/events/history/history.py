"""What was published and confirmed, and what consumers made of it."""

import asyncio
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from hasten.events import Bus, PublishTimeout
from tests.events.brokers.adapter import new_topic
from tests.events.history.worker import Numbered, effects_at

KEYS = 100
"""So many messages may be under way to the broker: one of each key, for only so have those of a key an order."""
COUNT = 20_000
PATIENCE = 60.0  # seconds without any progress, far more than any broker needs to find its feet
_LOOK_EVERY = 0.05


class Consumers:
    """A process of consumers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def stop(self) -> None:
        """Have it drain."""
        self._process.send_signal(signal.SIGTERM)
        assert await self._process.wait() == 0

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._process.kill()
        await self._process.wait()


class History:
    """One topic, who publishes to it, and the effects of its messages.

    Args:
      url: The broker's.
      folder: For what consumers write.

    Attributes:
      confirmed: Messages that the broker has, as it says.
      unknown: Those whose publishing ended at its deadline.
      gate: The second half of the messages is published once it is set, as it is unless a test clears it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.topic = new_topic()
        self.confirmed: set[str] = set()
        self.unknown: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self._url = url
        self._folder = folder
        self._database = effects_at(folder)

    # ---- consumers

    async def consumers(self, url: str = "") -> Consumers:
        """Start a process of consumers, and return when it has subscribed.

        Args:
          url: Another way to the same broker.
        """
        arguments = ("-m", "tests.events.history.worker", url or self._url, self.topic, str(self._folder))
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return Consumers(process)

    def effects(self, group: str) -> list[str]:
        """Return the messages that a group has handled, in the order in which it did."""
        if group != "once":
            file = self._folder / group
            return file.read_text().split() if file.exists() else []
        return [message for (message,) in self._database.execute("SELECT message FROM effects ORDER BY rowid")]

    def sizes(self) -> list[int]:
        """Return how much each group has written; it grows with each effect."""
        files = [self._folder / name for name in ("counted", "ordered")]
        ((rows,),) = self._database.execute("SELECT coalesce(max(rowid), 0) FROM effects")
        return [rows, *(file.stat().st_size if file.exists() else 0 for file in files)]

    # ---- publishing

    async def publish(self, bus: Bus, count: int = COUNT) -> None:
        """Publish so many messages, those of a key one after the other."""
        await asyncio.gather(*(self._publish_key(bus, f"k{key}", count // KEYS) for key in range(KEYS)))

    async def _publish_key(self, bus: Bus, key: str, count: int) -> None:
        for number in range(count):
            if number == count // 2:
                await self.gate.wait()
            message = f"{key}-{number}"
            try:
                await bus.publish(self.topic, Numbered(number), key=key, message_id=message)
            except PublishTimeout:
                self.unknown.add(message)
            else:
                self.confirmed.add(message)

    # ---- waiting

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds; fail when nothing has moved for PATIENCE."""
        seen, give_up = self._state(), time.monotonic() + PATIENCE
        while not holds():
            if (now := self._state()) != seen:
                seen, give_up = now, time.monotonic() + PATIENCE
            assert time.monotonic() < give_up, f"nothing moves: {self._summary()}"
            await asyncio.sleep(_LOOK_EVERY)

    async def until_confirmed(self, count: int) -> None:
        """Return when so many messages are confirmed."""
        await self.until(lambda: len(self.confirmed) >= count)

    async def until_all_have_moved(self) -> float:
        """Return when each group has handled something from now on, and the seconds until then."""
        before, began = self.sizes(), time.monotonic()
        await self.until(lambda: all(now != was for now, was in zip(self.sizes(), before, strict=True)))
        return time.monotonic() - began

    async def until_all_are_handled(self) -> None:
        """Return when each group has handled all that was confirmed."""
        for group in ("counted", "ordered", "once"):
            await self.until(lambda group=group: self.confirmed <= set(self.effects(group)))  # type: ignore[misc]

    def _state(self) -> tuple[object, ...]:
        return len(self.confirmed), len(self.unknown), self.sizes()

    def _summary(self) -> str:
        handled = {group: len(set(self.effects(group))) for group in ("counted", "ordered", "once")}
        return f"{len(self.confirmed)} confirmed, {len(self.unknown)} unknown, handled {handled}"

    # ---- judging

    def check(self, where: str, *, most_again: int) -> None:
        """Judge it, when all are handled, and say what was found.

        Args:
          where: For the report.
          most_again: Deliveries too many that a group may have seen: what was in flight.
        """
        known = self.confirmed | self.unknown
        again: dict[str, int] = {}
        for group in ("counted", "ordered", "once"):
            effects = self.effects(group)
            assert self.confirmed <= set(effects) <= known
            again[group] = len(effects) - len(set(effects))
        print(f"\n{where}: {self._summary()}; again {again}, of {most_again} in flight", file=sys.stderr)
        assert again["once"] == 0
        assert max(again.values()) <= most_again
        self._check_order()

    def _check_order(self) -> None:
        first = dict.fromkeys(self.effects("ordered"))
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for message in first:
            key, _, number = message.partition("-")
            numbers[key].append(int(number))
        assert all(each == sorted(each) for each in numbers.values())

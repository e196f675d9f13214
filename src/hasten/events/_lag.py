"""How far groups are behind: the broker is asked now and then, by whoever has hooks."""

import asyncio
import logging
import random
from collections.abc import Sequence

from hasten._core.signals import EventBacklog, EventHook
from hasten.events._broker import Inspection, Subscription
from hasten.events._telling import tell

_logger = logging.getLogger("hasten.events")


class LagWatch:
    """Asks a broker for the backlogs of groups, one after the other, and tells them as `EventBacklog`.

    Args:
      broker: It is asked.
      subscriptions: Whose backlogs.
      every: Seconds from the last answer to the next question, spread by half up and down: processes that were started
        together do not ask together.
    """

    def __init__(
        self, broker: Inspection, subscriptions: Sequence[Subscription], every: float, hooks: Sequence[EventHook]
    ) -> None:
        self._broker = broker
        self._subscriptions = tuple(subscriptions)
        self._every = every
        self._hooks = hooks
        self._failing: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask, at once and from then on."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Ask no more, whatever is being asked."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            for subscription in self._subscriptions:
                await self._ask(subscription)
            await asyncio.sleep(self._every * random.uniform(0.5, 1.5))

    async def _ask(self, subscription: Subscription) -> None:
        topic, group = subscription.topic, subscription.group
        try:
            backlog = await self._broker.backlog(topic, group)
        except Exception as error:  # of the broker, or of a driver: this goes on when they are well again
            if subscription not in self._failing:
                self._failing.add(subscription)
                _logger.warning("%s %s: no backlog: %s: %s", topic, group, type(error).__name__, error)
            return
        self._failing.discard(subscription)
        tell(self._hooks, EventBacklog(topic, group, backlog.waiting, backlog.dead))

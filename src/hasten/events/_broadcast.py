"""Bytes to every process that listens now: `hasten.cache.backplanes.bus` tells by it what is invalid."""

from collections.abc import Callable

from hasten._core.errors import ConfigurationError
from hasten.events._broker import Broadcasting, Listening
from hasten.events._bus import Bus
from hasten.events._envelope import Envelope
from hasten.events._names import checked_name


class Broadcast:
    """A topic that nobody keeps: who listens hears what is sent meanwhile, and nothing stays behind at the broker.

    It can be used while the bus runs: let both live with the app, the bus first.

    Args:
      topic: Of this alone; who subscribes to it as a group gets the messages, too.
    Attributes:
      name: For messages and metrics.
    Raises:
      ConfigurationError: the bus's broker has no such thing.
    """

    def __init__(self, bus: Bus, topic: str) -> None:
        where = f"Broadcast({topic!r})"
        self._topic = checked_name(topic, where)
        broker = bus.broker
        if not isinstance(broker, Broadcasting):
            raise ConfigurationError(where, f"{broker.name} keeps messages, and cannot tell all who listen")
        self.name = f"{broker.name} {topic}"
        self._bus = bus
        self._broker: Broadcasting = broker
        self._listening: Listening | None = None

    async def listen(self, receive: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        """Hear what is sent from now on, here and elsewhere, until `aclose`; in the order of one process's sending.

        Args:
          receive: Called in the loop's thread; it must be quick, and raise nothing.
          missed: Called when something may have been missed, before the first message behind the gap is received.
        Raises:
          BrokerError: the broker refuses, or is not there.
        """

        def take(envelope: Envelope) -> None:
            receive(envelope.body)

        self._listening = await self._broker.listen(self._topic, take, missed)

    async def send(self, body: bytes) -> None:
        """Send to all who listen; return when each of them will receive it before what is sent from then on.

        Raises:
          PublishTimeout: not confirmed in the bus's `timeout`; it may have been sent all the same.
          BrokerError: the broker refused it.
        Cancellation: it may be sent all the same.
        """
        # One key: brokers that part a topic keep the order within a part.
        await self._bus.publish(self._topic, body, key=self._topic, mandatory=False)

    async def aclose(self) -> None:
        """Hear no more."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.aclose()

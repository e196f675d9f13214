"""RabbitMQ, 3.10 or later: `amqp://user:password@host:5672/vhost`, `amqps://` with TLS.

Own AMQP 0-9-1 on asyncio, no driver. Two connections, so that consumers go on settling while the broker, short of
memory, reads nothing from who publishes:

    publishing ── Publisher: exchange, confirms ── Copies: retries, delays, dead letters
    consuming ─── RabbitIntake, a channel each

What is in the broker, for the exchange `hasten` (`?exchange=` names another):

    hasten                              a durable topic exchange; the routing key is the topic
    hasten:TOPIC:GROUP                  a group's messages
    hasten:TOPIC:GROUP:dead             its dead letters
    hasten:TOPIC:GROUP:retry:…, hasten:TOPIC:delay:…    what waits; made when needed, and gone weeks later
    hasten:TOPIC:listening:…            of one listener; exclusive, and gone with its connection

All queues but listeners' are quorum queues (`_amqp_topology` says why, and with which arguments); the queue of an
ordered group has a single active consumer. Two quorum properties are seen by users: a message that came back is
delivered with `x-delivery-count`, and a group that exists cannot become ordered: delete its queue first.

A message on the wire, so that other clients may publish and read it:

    property         content_type, message_id (id), type (topic), app_id (origin), delivery_mode 2
    header           hasten.key, hasten.time (seconds since the epoch), hasten.deadline, hasten.attempt (if not 1),
                     hasten.reason (of a dead letter), traceparent; users' headers as they are
    from others      a missing message_id is replaced by a random one, which is another one when the message comes
                     again; one that is not printable ASCII of 128 characters at most, by its hash. timestamp is
                     the time. Numbers in headers become text; tables, lists and bytes are left out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from hasten.events._broker import Backlog, Broadcasting, Broker, Inspection, Intake, Listening, Receive, Subscription
from hasten.events._envelope import Envelope
from hasten.events._errors import BrokerError, BrokerUnavailable, Unroutable
from hasten.events.brokers._amqp_channel import ConnectionLost
from hasten.events.brokers._amqp_connection import Connection
from hasten.events.brokers._amqp_copies import Copies
from hasten.events.brokers._amqp_envelope import MessageReader, Route
from hasten.events.brokers._amqp_inspection import Letters, look_at, put_back
from hasten.events.brokers._amqp_intake import RabbitIntake
from hasten.events.brokers._amqp_link import Link, Tenant
from hasten.events.brokers._amqp_listener import RabbitListener
from hasten.events.brokers._amqp_publisher import CHANNEL, Publisher
from hasten.events.brokers._amqp_topology import count, dead_queue, group_queue
from hasten.events.brokers._amqp_url import Place, place_of

ANSWER_SECONDS = 15.0
"""Until a subscription or a question must be answered."""
DRAIN_SECONDS = 5.0
"""For the last confirms, when a broker is closed."""
_MOST_ROUTES = 10_000  # topics whose bytes are kept
T = TypeVar("T")


class RabbitBroker(Broker, Inspection, Broadcasting):
    """A broker of AMQP 0-9-1; of one event loop.

    Args:
      place: Where it is.
    """

    keeps_topics = False

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.connected = False
        self._place = place
        self._begin_anew()
        self._publisher: Publisher | None = None
        self._copies: Copies | None = None
        self._routes: dict[tuple[str, bool], Route] = {}
        self._intakes: list[RabbitIntake | RabbitListener] = []

    def _begin_anew(self) -> None:
        """Be as if it had never been started: what was closed may be started again, in another loop."""
        self._away = {"publishing"}  # connections that are lost, or not made yet; that for consumers may never be
        self._publishing = Link(self._place, _Publishing(self))
        self._consuming = Link(self._place, _Consuming(self))
        self._consumes = False
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        self._publisher = Publisher(self.name, self._place.exchange, self._publishing.spawn)
        self._copies = Copies(self.name, self._publishing, self._publisher, self._place.exchange)
        await self._publishing.start()

    # ---- publishing

    def publish(
        self, envelope: Envelope, *, deadline: float, delay: float = 0.0, mandatory: bool = True
    ) -> Awaitable[None]:
        """Publish a message; the answer comes when RabbitMQ has confirmed it: a majority of each queue has it on disk.

        With a delay the broker does not know whether a group will want it, so it is never Unroutable.
        """
        publisher, copies = self._parts()
        if delay > 0.0:
            return copies.delay(envelope, delay, deadline)
        route = self._routes.get((envelope.topic, mandatory)) or self._route(envelope.topic, mandatory=mandatory)
        return publisher.publish(envelope, route, deadline=deadline)

    def _parts(self) -> tuple[Publisher, Copies]:
        if self._publisher is None or self._copies is None:
            raise BrokerError(self.name, "is not started")
        return self._publisher, self._copies

    def _route(self, topic: str, *, mandatory: bool) -> Route:
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        missing = partial(Unroutable, self.name, topic) if mandatory else None
        route = self._routes[topic, mandatory] = Route(CHANNEL, self._place.exchange, topic, topic, missing)
        return route

    # ---- consuming

    async def subscribe(self, subscription: Subscription, receive: Receive) -> Intake:
        _, copies = self._parts()
        await self._start_consuming()
        intake = RabbitIntake(
            subscription,
            receive,
            link=self._consuming,
            copies=copies,
            exchange=self._place.exchange,
            left=self._intakes.remove,
        )
        await self._ask(self._consuming, intake.open)
        self._intakes.append(intake)
        return intake

    async def _start_consuming(self) -> None:
        async with self._starting:
            if not self._consumes:
                await self._consuming.start()
                self._consumes = True

    async def listen(self, topic: str, receive: Callable[[Envelope], None], missed: Callable[[], None]) -> Listening:
        self._parts()
        await self._start_consuming()
        left, exchange = self._intakes.remove, self._place.exchange
        listener = RabbitListener(topic, receive, missed, link=self._consuming, exchange=exchange, left=left)
        await self._ask(self._consuming, listener.open)
        self._intakes.append(listener)
        return listener

    async def _ask(self, link: Link, question: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what is answered over a connection; asked again when it is lost.

        Raises:
          BrokerUnavailable: there is no connection, or no answer.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    try:
                        return await question(await link.get())
                    except ConnectionLost:
                        await asyncio.sleep(0)  # until the link knows it too
        except TimeoutError as error:
            if isinstance(error, BrokerError):  # a copy was not confirmed
                raise
            raise BrokerUnavailable(self.name, f"no answer in {ANSWER_SECONDS:g} s") from error

    # ---- operators

    async def backlog(self, topic: str, group: str) -> Backlog:
        waiting = await self._count(group_queue(self._place.exchange, topic, group))
        return Backlog(waiting, await self._count(dead_queue(self._place.exchange, topic, group)))

    async def _count(self, queue: str) -> int:
        return await self._ask(self._asking, partial(count, queue=queue))

    @property
    def _asking(self) -> Link:
        """The link that is not blocked when the broker is short of memory, if there is one."""
        return self._consuming if self._consumes else self._publishing

    async def dead_letters(self, topic: str, group: str, most: int) -> list[Envelope]:
        return await self._ask(self._asking, partial(look_at, self._letters(topic, group), most))

    async def replay(self, topic: str, group: str, chosen: Callable[[Envelope], bool], most: int) -> int:
        _, copies = self._parts()
        put = partial(copies.put, group_queue(self._place.exchange, topic, group))
        return await self._ask(self._asking, partial(put_back, self._letters(topic, group), chosen, most, put))

    def _letters(self, topic: str, group: str) -> Letters:
        return Letters(dead_queue(self._place.exchange, topic, group), MessageReader(topic))

    # ---- the end

    async def aclose(self) -> None:
        """Settle, wait for the last confirms, and close both connections."""
        await asyncio.gather(*(intake.aclose() for intake in list(self._intakes)))
        if self._publisher is not None:
            await self._publisher.drain(DRAIN_SECONDS)
        await asyncio.gather(self._consuming.aclose(), self._publishing.aclose())
        self._begin_anew()

    # ---- the links' tenants

    async def publish_over(self, connection: Connection) -> None:
        """Publish over a new connection."""
        await self._parts()[0].move_in(connection)
        self._note("publishing", is_there=True)

    def publish_no_more(self) -> None:
        """Keep what is published until there is a connection."""
        publisher, copies = self._parts()
        publisher.move_out()
        copies.forget()
        self._note("publishing", is_there=False)

    def consume_over(self) -> None:
        """Subscribe again over the new connection."""
        for intake in self._intakes:
            intake.renew()
        self._note("consuming", is_there=True)

    def consume_no_more(self) -> None:
        """Know nothing of what came over the lost connection."""
        for intake in self._intakes:
            intake.lose()
        self._note("consuming", is_there=False)

    def _note(self, link: str, *, is_there: bool) -> None:
        (self._away.discard if is_there else self._away.add)(link)
        self.connected = not self._away


class _Publishing(Tenant):
    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker

    async def move_in(self, connection: Connection) -> None:
        await self._broker.publish_over(connection)

    def move_out(self) -> None:
        self._broker.publish_no_more()


class _Consuming(Tenant):
    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker

    async def move_in(self, connection: Connection) -> None:
        self._broker.consume_over()

    def move_out(self) -> None:
        self._broker.consume_no_more()


def rabbit_broker(url: str) -> RabbitBroker:
    """Return the broker of `amqp://` or `amqps://`, not connected yet.

    Raises:
      ConfigurationError: the URL is wrong.
    """
    return RabbitBroker(place_of(url))

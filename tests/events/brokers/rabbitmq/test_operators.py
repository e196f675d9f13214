"""What docs/reference/events.md says to operators: the rights that a user needs, and what policies do."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hasten.events import Backlog, Broadcast, BrokerError, Bus, Inspection, Message, Reject, RetryPolicy
from servers import Running, rabbitmqctl
from tests.events.brokers.adapter import eventually, new_topic, run

PAGE = " ".join((Path(__file__).parents[4] / "docs/reference/events.md").read_text().split())
((OURS, DEFAULT),) = re.findall(r"configure, write and read `([^`]+)`, and to write to `([^`]+)`", PAGE)
PASSWORD = "s/e?c#r@e:t%"
IN_THE_URL = "s%2Fe%3Fc%23r%40e%3At%25"


def url_of(user: str, server: Running) -> str:
    """Return the URL for a user, with the password written as the page says."""
    return f"amqp://{user}:{IN_THE_URL}@{urlsplit(server.url).netloc.rpartition('@')[2]}"


def make_user(server: Running, user: str, configure: str, write: str, read: str) -> None:
    rabbitmqctl(server, "add_user", user, PASSWORD)
    rabbitmqctl(server, "set_permissions", user, configure, write, read)


async def holds(what: bool) -> bool:  # noqa: FBT001  an answer, not a switch
    """Return what is so now."""
    return what


async def replays(broker: Inspection, topic: str) -> bool:
    """Return whether a dead letter was there to be replayed."""
    return await broker.replay(topic, "billing", lambda _: True, 10) > 0


def test_enough(own_rabbitmq: Running) -> None:
    """A user with no more than these subscribes, publishes, delays, retries, buries, replays and listens."""
    make_user(own_rabbitmq, "few", OURS, f"{OURS}|^{re.escape(DEFAULT)}$", OURS)
    topic, handled, heard = new_topic(), set[int](), list[bytes]()

    async def scenario() -> None:
        bus = Bus(url_of("few", own_rabbitmq))

        @bus.subscribe(topic, group="billing", retry=RetryPolicy(1, first=0.01))
        async def handle(number: int, message: Message) -> None:
            if number == 1 and message.attempt == 1:
                raise ValueError("once more")
            if number == 2 and 3 not in handled:
                raise Reject("not now")
            handled.add(number)

        async with bus:
            broadcast = Broadcast(bus, new_topic())
            await broadcast.listen(heard.append, lambda: None)
            await broadcast.send(b"all")
            for number in (0, 1, 2):
                await bus.publish(topic, number)
            await bus.publish(topic, 3, delay=0.01)
            await eventually(lambda: holds(handled == {0, 1, 3} and heard == [b"all"]))
            broker = bus.broker
            assert isinstance(broker, Inspection)
            await eventually(lambda: replays(broker, topic))
            await eventually(lambda: holds(handled == {0, 1, 2, 3}))
            await broadcast.aclose()

    run(scenario())


@pytest.mark.parametrize("missing", ["configure", "write", "read"])
def test_needed(missing: str, own_rabbitmq: Running) -> None:
    """Without one of them subscribing is refused, and it is said what for."""
    rights = {name: "^$" if name == missing else OURS for name in ("configure", "write", "read")}
    make_user(own_rabbitmq, f"no-{missing}", **rights)

    async def scenario() -> None:
        bus = Bus(url_of(f"no-{missing}", own_rabbitmq))

        @bus.subscribe(new_topic(), group="billing")
        async def handle(number: int) -> None:
            """Get nothing."""

        with pytest.raises(BrokerError, match="ACCESS_REFUSED") as caught:
            async with bus:
                """Never get here."""
        assert PASSWORD not in str(caught.value)

    run(scenario())


# ---- policies


def set_policy(server: Running, topic: str, **definition: int) -> None:
    """Have a policy on the queue of a group `billing`."""
    pattern = f"^hasten:{re.escape(topic)}:billing$"
    rabbitmqctl(server, "set_policy", topic, pattern, json.dumps(definition), "--apply-to", "queues")


async def known_group(url: str, topic: str) -> None:
    """Have a group that nobody is in."""
    bus = Bus(url)

    @bus.subscribe(topic, group="billing")
    async def handle(number: int) -> None:
        """Get nothing."""

    async with bus:
        """Leave again."""


def test_what_the_broker_takes_out(own_rabbitmq: Running) -> None:
    """A message whose time by a policy is over is a dead letter, and can be replayed."""
    topic = new_topic()
    run(known_group(own_rabbitmq.url, topic))
    set_policy(own_rabbitmq, topic, **{"message-ttl": 1})

    async def scenario() -> None:
        async with Bus(own_rabbitmq.url) as bus:
            broker = bus.broker
            assert isinstance(broker, Inspection)

            async def dies() -> bool:
                await bus.publish(topic, 7)  # again and again: a policy counts for what comes after it
                return await replays(broker, topic)

            await eventually(dies)

    run(scenario())


async def fill(bus: Bus, topic: str, taken: list[int]) -> None:
    """Publish until it fails."""
    for number in range(10_000):
        await bus.publish(topic, number)
        taken.append(number)


def test_a_full_queue(own_rabbitmq: Running) -> None:
    """A queue that is full by a policy takes no more, and whoever publishes is told; what is in it stays."""
    topic, taken = new_topic(), list[int]()
    run(known_group(own_rabbitmq.url, topic))
    set_policy(own_rabbitmq, topic, **{"max-length": 3})

    async def scenario() -> None:
        async with Bus(own_rabbitmq.url) as bus:
            with pytest.raises(BrokerError, match="its queue takes no more"):
                await fill(bus, topic, taken)
            broker = bus.broker
            assert isinstance(broker, Inspection)

            async def all_are_there() -> bool:
                return await broker.backlog(topic, "billing") == Backlog(len(taken), 0)

            await eventually(all_are_there)

    run(scenario())

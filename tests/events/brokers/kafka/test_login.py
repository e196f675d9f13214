"""TLS and a login, on a real Kafka: what the URL says reaches librdkafka, and what is wrong is said."""

import pytest

from hasten.events import BrokerUnavailable, Bus, Message
from hasten.events.brokers import kafka
from tests.events.brokers.adapter import OrderPaid, Seen, new_topic, run
from tests.events.brokers.kafka.own import PASSWORD, OwnKafka


def test_a_login_over_tls(own_kafka: OwnKafka) -> None:
    """User and password in the URL mean SASL PLAIN over TLS; options say which authority is trusted."""

    async def scenario() -> None:
        topic, seen = new_topic(), Seen()
        bus = Bus(own_kafka.locked_url(ssl_ca_location=own_kafka.certificates.ca))

        @bus.subscribe(topic, group="billing")
        async def note(order: OrderPaid, message: Message) -> None:
            await seen.note(order, message)

        async with bus:
            await bus.publish(topic, OrderPaid(7))
            await seen.count(1)
        assert PASSWORD not in repr(bus.broker)
        assert seen.payloads == [OrderPaid(7)]

    run(scenario())


def test_a_wrong_password(own_kafka: OwnKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in one line that the login was refused, without the password."""
    monkeypatch.setattr(kafka, "CONNECT_SECONDS", 2.0)

    async def scenario() -> None:
        bus = Bus(own_kafka.locked_url(password="s3cr3t", ssl_ca_location=own_kafka.certificates.ca))
        with pytest.raises(BrokerUnavailable, match=r"(?i)authentication failed") as caught:
            await bus.start()
        assert "s3cr3t" not in str(caught.value)
        assert "\n" not in str(caught.value)

    run(scenario())


def test_an_authority_that_is_not_trusted(own_kafka: OwnKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with a certificate that nobody vouches for is refused, and it is said why."""
    monkeypatch.setattr(kafka, "CONNECT_SECONDS", 2.0)

    async def scenario() -> None:
        bus = Bus(own_kafka.locked_url())
        with pytest.raises(BrokerUnavailable, match="certificate"):
            await bus.start()

    run(scenario())

"""URLs of Kafka: what they say, what is refused, and that no password is shown."""

import asyncio
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.events import Bus
from hasten.events.brokers._kafka_settings import PARTITIONS, settings_of
from hasten.events.brokers.kafka import kafka_broker


def silent(*_: object) -> None:
    """Hear nothing."""


def test_several_hosts_and_options() -> None:
    """Hosts may be several, with or without ports; options are librdkafka's, those of topics ours."""
    settings = settings_of("kafka://one:9093,two,[::1]:9094?linger.ms=5&partitions=12&replication=3")
    configuration = settings.producer(silent)
    assert settings.name == "kafka one:9093,two:9092,[::1]:9094"
    assert configuration["bootstrap.servers"] == "one:9093,two:9092,[::1]:9094"
    assert configuration["linger.ms"] == "5"
    assert (settings.partitions, settings.replication) == (12, 3)
    assert "partitions" not in configuration


def test_what_is_not_said() -> None:
    """Without options a topic gets as many copies as the cluster makes, and publishing waits for all replicas."""
    settings = settings_of("kafka://localhost")
    assert (settings.partitions, settings.replication) == (PARTITIONS, -1)
    configuration = settings.producer(silent)
    assert (configuration["acks"], configuration["enable.idempotence"]) == ("all", True)


def test_a_login() -> None:
    """User and password are SASL's, over TLS unless the options say otherwise."""
    configuration = settings_of("kafka://me:p%2Fw%40@localhost?sasl.mechanism=SCRAM-SHA-512").producer(silent)
    assert (configuration["sasl.username"], configuration["sasl.password"]) == ("me", "p/w@")
    assert (configuration["sasl.mechanism"], configuration["security.protocol"]) == ("SCRAM-SHA-512", "SASL_SSL")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "localhost:port",
        "localhost:99999999",
        "localhost,,other",
        "localhost/topic",
        "localhost#a",
        "localhost?linger.ms",
        "localhost?linger.ms=1&linger.ms=2",
        "localhost?partitions=0",
        "localhost?partitions=many",
        "localhost?replication=-1",
        "localhost?group.id=mine",
        "localhost?acks=1",
        "localhost?request.required.acks=0",
        "localhost?delivery.report.only.error=true",
        "localhost?queuing.strategy=lifo",
        "localhost?oauth_cb=print",
        "[::1",
    ],
)
def test_wrong(rest: str) -> None:
    """A URL that is wrong is refused, with what is wrong about it."""
    with pytest.raises(ConfigurationError, match="kafka://"):
        kafka_broker(f"kafka://{rest}")


_ASCII = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]))


@given(_ASCII, _ASCII)
@example("", "/")
@example("", "?x=1")
@example("@", "#")
@example("[", "")
@example("?", "=1")
@example("/?", "=")
def test_a_password_that_is_not_escaped(before: str, after: str) -> None:
    """Whatever is wrong with a URL, nothing that is shown has a part of its password."""
    try:
        broker = kafka_broker(f"kafka://me:{before}s3cr3t{after}@localhost:9092")
        shown = f"{broker!r} {broker.name}"
    except ConfigurationError as error:
        shown = "".join(traceback.format_exception(error)[-1:])
        suppressed = error.__suppress_context__ or error.__context__ is None
    else:
        suppressed = True
    assert "s3cr3t" not in shown
    assert suppressed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("lingerr.ms=5", "lingerr.ms"),
        ("sasl.mechanisn=PLAIN", "sasl.mechanisn"),
        ("socket.timeout.ms=soon", "socket.timeout.ms"),
        ("security.protocol=sasl_plaintext&sasl.mechanism=NONE&sasl.username=me&sasl.password=NONE", "SASL mechanism"),
    ],
)
def test_what_librdkafka_refuses(options: str, said: str) -> None:
    """An option that is none, or a value that librdkafka does not take, is said at the start, without a secret."""

    async def start() -> None:
        await Bus(f"kafka://127.0.0.1:1?{options}").start()

    with pytest.raises(ConfigurationError, match=said) as caught:
        asyncio.run(start())
    assert "NONE" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None

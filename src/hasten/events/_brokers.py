"""Brokers by their URLs."""

from hasten._core.errors import ConfigurationError
from hasten.events._broker import Broker

_SCHEMES = ("memory://", "amqp://", "amqps://", "kafka://")


def broker_at(url: str) -> Broker:
    """Return the broker of a URL, not connected yet.

    Raises:
      ConfigurationError: the URL is wrong.
      MissingDependency: its driver is not installed.
    """
    scheme = url.partition("://")[0]  # not urlsplit, whose errors show parts of a password
    if scheme == "memory":
        from hasten.events.brokers.memory import memory_broker

        return memory_broker(url)
    if scheme in {"amqp", "amqps"}:
        from hasten.events.brokers.rabbitmq import rabbit_broker

        return rabbit_broker(url)
    if scheme == "kafka":
        from hasten.events.brokers.kafka import kafka_broker

        return kafka_broker(url)
    raise ConfigurationError(f"bus {scheme}://", "there is no such broker", f"there are {', '.join(_SCHEMES)}")

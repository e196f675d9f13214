"""Brokers by their URLs."""

from urllib.parse import urlsplit

from hasten._core.errors import ConfigurationError
from hasten.events._broker import Broker

_SCHEMES = ("memory://", "amqp://", "amqps://", "kafka://")


def broker_at(url: str) -> Broker:
    """Return the broker of a URL, not connected yet.

    Raises:
      ConfigurationError: the URL is wrong.
      MissingDependency: its driver is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        from hasten.events.brokers.memory import memory_broker

        return memory_broker(url)
    raise ConfigurationError(f"bus {scheme}://", "there is no such broker", f"there are {', '.join(_SCHEMES)}")

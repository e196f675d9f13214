"""What can go wrong between a process and its broker."""

from typing import Any

from hasten._core.errors import HastenError


class BrokerError(HastenError):
    """Raised when a broker refuses something, or fails at it; see its reason.

    Args:
      broker: Its name.
      reason: What it said.
    """

    exit_code = 3

    def __init__(self, broker: str, reason: str) -> None:
        super().__init__(f"{broker}: {reason}")
        self.broker = broker
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.broker, self.reason)


class BrokerUnavailable(BrokerError):
    """Raised when a broker does not answer; start it, or mend the URL."""


class PublishTimeout(BrokerError, TimeoutError):
    """Raised when a message was not confirmed in time: the broker is away, blocked or slow.

    It may have been taken all the same. Publish it again with the same id, so that consumers that count ids see one.
    """


class Unroutable(BrokerError):
    """Raised when no group has ever subscribed to a topic, so that nobody would get the message.

    Start the consumers once, or publish with `mandatory=False` where it does not matter.

    Args:
      topic: Where it was published.
    """

    def __init__(self, broker: str, topic: str) -> None:
        BrokerError.__init__(self, broker, f"{topic}: no group has subscribed to it")
        self.topic = topic

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.broker, self.topic)


class Reject(HastenError):
    """Raise it in a handler: the message goes to the dead letters at once, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason,)


class Malformed(HastenError):
    """Raised when a payload is not what the subscriber's annotation says; the publisher's fault, or a new version's."""

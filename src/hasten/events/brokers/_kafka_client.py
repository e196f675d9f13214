"""confluent-kafka (librdkafka): the one place that imports it, what its errors become, and how its threads call us."""

import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from hasten._core.errors import ConfigurationError, MissingDependency
from hasten.events._errors import BrokerError, BrokerUnavailable
from hasten.events.brokers._kafka_settings import Settings

try:
    from confluent_kafka import (
        OFFSET_END,
        Consumer,
        KafkaError,
        KafkaException,
        Message,
        Producer,
        TopicPartition,
    )
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # no __all__
except ModuleNotFoundError as missing:
    if missing.name != "confluent_kafka":
        raise
    raise MissingDependency("confluent-kafka", "kafka") from missing

__all__ = (  # of the driver; the rest of this module is imported by its name as well
    "OFFSET_END",
    "AdminClient",
    "Consumer",
    "KafkaError",
    "KafkaException",
    "Message",
    "NewTopic",
    "Producer",
    "TopicPartition",
)

# librdkafka's own codes have an underscore.
ALL_BROKERS_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001
MSG_TIMED_OUT = KafkaError._MSG_TIMED_OUT  # noqa: SLF001
FATAL = KafkaError._FATAL  # noqa: SLF001
PARTITION_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001
NO_SUCH_OFFSET = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
AWAY = {  # what may pass by itself
    ALL_BROKERS_DOWN,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
}
T = TypeVar("T")


def made(kind: Callable[[dict[str, Any]], T], configuration: dict[str, Any], settings: Settings) -> T:
    """Return a client.

    Raises:
      ConfigurationError: librdkafka does not take an option.
    """
    try:
        return kind(configuration)
    except (KafkaException, TypeError, ValueError) as error:
        problem = settings.without_secrets(reason_of(error))
        raise ConfigurationError(f"bus {settings.name}", problem) from None


def reason_of(error: BaseException) -> str:
    """Return what an exception of confluent-kafka's says."""
    said = error.args[0] if error.args else error
    return said.str() if isinstance(said, KafkaError) else str(said)


def error_of(name: str, error: KafkaException) -> BrokerError:
    """Return an exception of confluent-kafka's as ours."""
    said = error.args[0] if error.args else None
    away = isinstance(said, KafkaError) and said.code() in AWAY
    return (BrokerUnavailable if away else BrokerError)(name, reason_of(error))


def in_thread(loop: AbstractEventLoop, name: str, work: Callable[[], T]) -> "Future[T]":
    """Run what blocks in a thread of its own, which ends with it; the loop may be gone by then."""
    answer: Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        if not answer.done():
            settle()

    def run() -> None:
        try:
            settle = partial(answer.set_result, work())
        except BaseException as error:
            settle = partial(answer.set_exception, error)
        call_loop(loop, tell, settle)

    threading.Thread(target=run, name=name, daemon=True).start()
    return answer


def call_loop(loop: AbstractEventLoop, function: Callable[..., object], *arguments: Any) -> bool:
    """Call a function in the loop's thread; return whether there is a loop still."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:  # closed
        return False
    return True


def resolve(future: "Future[None]") -> None:
    """Let those go on who wait for it."""
    if not future.done():
        future.set_result(None)


def partitions_text(partitions: Iterable[TopicPartition]) -> str:
    """Return partitions for a line of a log."""
    return ", ".join(f"{each.topic} {each.partition}" for each in partitions)

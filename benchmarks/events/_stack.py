"""What a subject has to offer to take part, and where its setup stands."""

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import cast

from benchmarks.events._work import Handle, Publish


class Kind(StrEnum):
    """Of broker."""

    RABBITMQ = "rabbitmq"
    KAFKA = "kafka"


Setup = Callable[[str, Handle], AbstractAsyncContextManager[Publish]]
"""Takes the broker, `host:port`, and the handler; yields what publishes, when all that is published is consumed."""

PARTITIONS = 6
"""Of each topic of Kafka's: what hasten makes by default."""
COMMIT_MILLISECONDS = 50
"""Between two commits to Kafka: hasten's."""
STICKY_MILLISECONDS = 100
"""For so long librdkafka gives all messages without a key to one partition; without a linger it would to none."""
SILENCE_SECONDS = 600
"""A process is stopped while others have their turn: brokers wait for signs of life as long as they can be told to."""

SETUPS: Mapping[Kind, Mapping[str, str]] = {
    Kind.RABBITMQ: {
        "raw": "raw_amqp:connected",
        "hasten": "hasten:over_rabbitmq",
        "hasten-broker": "hasten:broker_over_rabbitmq",
        "aiormq": "aiormq:connected",
        "aio-pika": "aio_pika:connected",
        "faststream": "faststream:over_rabbitmq",
    },
    Kind.KAFKA: {
        "hasten": "hasten:over_kafka",
        "hasten-broker": "hasten:broker_over_kafka",
        "aiokafka": "aiokafka:connected",
        "faststream-aiokafka": "faststream:over_aiokafka",
        "faststream-aiokafka-each": "faststream:each_over_aiokafka",
        "faststream-confluent": "faststream:over_confluent",
    },
}
"""By kind of broker and subject: a module of `stacks` and its function. The limit over Kafka is `_librdkafka`."""


def modules(kind: Kind) -> Mapping[str, tuple[str, ...]]:
    """Return, by subject, what its process runs, to be followed by the broker's address and process id."""
    running = {subject: ("benchmarks.events._client", subject, kind.value) for subject in SETUPS[kind]}
    return {"raw": ("benchmarks.events._librdkafka",), **running} if kind is Kind.KAFKA else running


def find_setup(kind: Kind, subject: str) -> Setup:
    """Load the subject's library, and return what sets it up."""
    module, function = SETUPS[kind][subject].split(":")
    return cast("Setup", getattr(importlib.import_module(f"benchmarks.events.stacks.{module}"), function))

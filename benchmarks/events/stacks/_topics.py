"""Topics of Kafka's for those who make none themselves."""

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from benchmarks.events._stack import PARTITIONS

_TIMEOUT = 20.0


def make_topic(address: str, name: str) -> str:
    """Make a topic, and return its name."""
    admin = AdminClient({"bootstrap.servers": address})
    made = admin.create_topics([NewTopic(name, num_partitions=PARTITIONS)], operation_timeout=_TIMEOUT)
    made[name].result(_TIMEOUT)
    return name

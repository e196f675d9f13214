"""What an event topic is in Kafka: `orders.paid` and its group `billing`.

    orders.paid                 topic: what is published; each group reads all of it
    orders.paid.billing.retry   topic: messages for this group only: to be retried, delayed, replayed
    orders.paid.billing.dead    topic: the group's dead letters, compacted: its records have keys of their own, and one
                                without a value says that the dead letter with that key is gone (replayed)
    orders.paid:billing         consumer group: subscribes to the first, has offsets in the first two

The consumer group has a colon, which no name has: topic `orders` with group `paid.billing` is another one. Both have
the same retry topic; so each record there says whose it is, and each group leaves alone what is the other's. A group
for each topic, so that who joins or leaves for one topic moves no partition of another.
"""

from typing import NamedTuple


class Names(NamedTuple):
    """The names in Kafka of a topic and a group."""

    topic: str
    group: str

    @property
    def retry(self) -> str:
        """Topic of what is delivered to this group later."""
        return f"{self.topic}.{self.group}.retry"

    @property
    def dead(self) -> str:
        """Topic of the group's dead letters."""
        return f"{self.topic}.{self.group}.dead"

    @property
    def id(self) -> str:
        """Id of the consumer group."""
        return f"{self.topic}:{self.group}"

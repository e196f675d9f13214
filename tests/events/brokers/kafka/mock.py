"""librdkafka's mock cluster: brokers in this process that fail as they are told, for faults that one real Kafka lacks.

It is part of the library that the driver ships, and is driven through its C interface (`rdkafka_mock.h`). Its brokers
share one log of each partition, so that it shows what a client does, not what a cluster keeps. It makes no topics by
request; so a test makes those that it needs.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_int16, c_int32, c_size_t, c_void_p
from pathlib import Path

import confluent_kafka

PRODUCE = 0
"""The API of Kafka's protocol that errors are made for."""
_PRODUCER = 0


def library() -> ctypes.CDLL:
    """Return the librdkafka that the driver has loaded."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (file,) = folder.glob("librdkafka*")
    return ctypes.CDLL(str(file))


class MockCluster:
    """Three brokers, 1 to 3.

    Attributes:
      url: For a `Bus`.
    """

    def __init__(self, library: ctypes.CDLL, cluster: c_void_p) -> None:
        self._library = library
        self._cluster = cluster
        bootstraps = library.rd_kafka_mock_cluster_bootstraps
        bootstraps.argtypes, bootstraps.restype = [c_void_p], c_char_p
        self.url = f"kafka://{bootstraps(cluster).decode()}"

    def make_topic(self, name: str, partitions: int) -> None:
        """Make a topic whose partitions are led by all brokers in turn, each with three replicas."""
        make = self._library.rd_kafka_mock_topic_create
        make.argtypes = [c_void_p, c_char_p, c_int, c_int]
        assert make(self._cluster, name.encode(), partitions, 3) == 0
        for at in range(partitions):
            self.lead(name, at, 1 + at % 3)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Have a broker lead a partition; the others say that they do not."""
        lead = self._library.rd_kafka_mock_partition_set_leader
        lead.argtypes = [c_void_p, c_char_p, c_int32, c_int32]
        assert lead(self._cluster, topic.encode(), partition, broker) == 0

    def coordinate(self, group: str, broker: int) -> None:
        """Have a broker coordinate a group."""
        coordinate = self._library.rd_kafka_mock_coordinator_set
        coordinate.argtypes = [c_void_p, c_char_p, c_char_p, c_int32]
        assert coordinate(self._cluster, b"group", group.encode(), broker) == 0

    def refuse(self, broker: int, *codes: int) -> None:
        """Have a broker answer its next requests to publish with these errors, one each, after 10 ms."""
        push = self._library.rd_kafka_mock_broker_push_request_error_rtts
        push.argtypes = [c_void_p, c_int32, c_int16, c_size_t]
        pairs = [number for code in codes for number in (c_int(code), c_int(10))]
        assert push(self._cluster, broker, PRODUCE, len(codes), *pairs) == 0

    def down(self, broker: int) -> None:
        """Cut a broker's connections, and take no more."""
        self._call("rd_kafka_mock_broker_set_down", broker)

    def up(self, broker: int) -> None:
        """Let a broker take connections again."""
        self._call("rd_kafka_mock_broker_set_up", broker)

    def _call(self, name: str, broker: int) -> None:
        function = getattr(self._library, name)
        function.argtypes = [c_void_p, c_int32]
        assert function(self._cluster, broker) == 0


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    """Run a cluster for a block; a group's first members wait for no others."""
    rdkafka = library()
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(rdkafka, name).restype = c_void_p
    rdkafka.rd_kafka_new.argtypes = [c_int, c_void_p, POINTER(ctypes.c_char), c_size_t]
    rdkafka.rd_kafka_mock_cluster_new.argtypes = [c_void_p, c_int]
    problem = ctypes.create_string_buffer(256)
    client = rdkafka.rd_kafka_new(_PRODUCER, rdkafka.rd_kafka_conf_new(), problem, len(problem))
    assert client, problem.value
    cluster = c_void_p(rdkafka.rd_kafka_mock_cluster_new(c_void_p(client), 3))
    rdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [c_void_p, c_int32]
    rdkafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    try:
        yield MockCluster(rdkafka, cluster)
    finally:
        for name, pointer in (("rd_kafka_mock_cluster_destroy", cluster), ("rd_kafka_destroy", c_void_p(client))):
            getattr(rdkafka, name).argtypes = [c_void_p]
            getattr(rdkafka, name)(pointer)

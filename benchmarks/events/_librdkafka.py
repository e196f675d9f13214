"""The limit over Kafka, `python -m benchmarks.events._librdkafka ADDRESS BROKER_PID`: blocking calls, no event loop.

It does what `_client.py` does, as directly as confluent-kafka can: delivery reports are counted, records are taken in
batches, their offsets stored and committed by librdkafka itself.
"""

import asyncio
import sys
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import carry_out, measured
from benchmarks.events._orders import WARM_UP, Drive, Moved
from benchmarks.events._stack import COMMIT_MILLISECONDS, SILENCE_SECONDS, STICKY_MILLISECONDS
from benchmarks.events._work import IN_FLIGHT, OrderPaid, Orders, check, decode, encode
from benchmarks.events.stacks._topics import make_topic

_PATIENCE = 40.0
"""Seconds that the next record may take; a group may need 10 to begin."""
_PRODUCER: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 0,
    "sticky.partitioning.linger.ms": STICKY_MILLISECONDS,
}
_CONSUMER: dict[str, Any] = {
    "group.id": "raw",
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": COMMIT_MILLISECONDS,
    "session.timeout.ms": SILENCE_SECONDS * 1000,
    "max.poll.interval.ms": SILENCE_SECONDS * 1000,
}


class _Driver:
    def __init__(self, address: str, broker_pid: int) -> None:
        self._broker_pid = broker_pid
        self._topic = make_topic(address, "raw")
        common = {"bootstrap.servers": address, "socket.timeout.ms": SILENCE_SECONDS * 500}
        self._producer = Producer({**common, **_PRODUCER})
        self._consumer = Consumer({**common, **_CONSUMER})
        self._consumer.subscribe([self._topic])
        self._orders = Orders()
        self._under_way = 0

    async def drive(self, order: Drive) -> Moved:
        """Publish and handle, and measure what is asked for."""
        orders = self._orders(order.messages)
        numbers: list[int] = []
        before = time.process_time()
        if order.work == "latency":
            driven = await measured(self._one_by_one(orders, numbers), self._broker_pid)
        elif order.work == "publish":
            driven = await measured(self._publish(orders), self._broker_pid)
            await self._handle(len(orders), numbers)
        else:
            await self._publish(orders)
            driven = await measured(self._handle(len(orders), numbers), self._broker_pid)
        whole_cpu = time.process_time() - before
        check(orders, numbers)
        return Moved(driven=driven, whole_cpu=whole_cpu)

    # None of these waits in the loop: nobody else is in it.

    async def _publish(self, orders: list[OrderPaid], in_flight: int = IN_FLIGHT) -> list[float]:
        """Publish orders; return the seconds from each one's publishing to its confirm."""
        latencies: list[float] = []
        for order in orders:
            while self._under_way >= in_flight:
                self._producer.poll(_PATIENCE)
            self._produce(order, latencies)
        while self._under_way:
            self._producer.poll(_PATIENCE)
        return latencies

    def _produce(self, order: OrderPaid, latencies: list[float]) -> None:
        started = time.perf_counter()

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                raise KafkaException(error)
            self._under_way -= 1
            latencies.append(time.perf_counter() - started)

        self._producer.produce(self._topic, encode(order), on_delivery=on_delivery)
        self._under_way += 1

    async def _handle(self, count: int, numbers: list[int]) -> list[float]:
        """Take so many orders."""
        while len(numbers) < count:
            first = self._consumer.poll(_PATIENCE)
            if first is None:
                raise TimeoutError(f"no record in {_PATIENCE:g} s")
            newest: dict[int | None, Message] = {}
            for message in (first, *self._consumer.consume(IN_FLIGHT - 1, 0)):
                numbers.append(_number_of(message))
                newest[message.partition()] = message
            for message in newest.values():
                self._consumer.store_offsets(message=message)
        return [0.0] * count

    async def _one_by_one(self, orders: list[OrderPaid], numbers: list[int]) -> list[float]:
        """Publish an order when the last one was handled; return the seconds from its publishing to its handling."""
        latencies: list[float] = []
        for order in orders:
            started = time.perf_counter()
            self._produce(order, [])
            self._producer.poll(0)
            await self._handle(len(numbers) + 1, numbers)
            latencies.append(time.perf_counter() - started)
            while self._under_way:
                self._producer.poll(_PATIENCE)
        return latencies

    def close(self) -> None:
        """Commit, and leave the group."""
        self._consumer.close()


def _number_of(message: Message) -> int:
    error, body = message.error(), message.value()
    if error is not None or body is None:
        raise KafkaException(error)
    return decode(body).number


async def _main(address: str, broker_pid: str) -> None:
    driver = _Driver(address, int(broker_pid))
    try:
        for order in WARM_UP:
            await driver.drive(order)
        announce("on stdin")
        await carry_out(Drive, driver.drive, Moved)
    finally:
        driver.close()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(_main(*sys.argv[1:]))

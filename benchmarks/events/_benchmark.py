"""`events`: messages over a real RabbitMQ and a real Kafka, beside the clients that Python has.

Every subject has a process of its own for each broker, which publishes and consumes, on one core; it is stopped while
others have their turn. The broker has the other core. All publish the same orders, 64 at once or one by one, with the
broker's confirm for each, decode them, have them handled by the same `async def`, and tell the broker that they are
handled. Each is set up as is fastest for that (`stacks/`).
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks._driven import OrderedProcess
from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject, Trial
from benchmarks._processes import Cores, Stage
from benchmarks.events._backend import Backend
from benchmarks.events._orders import Drive, Work
from benchmarks.events._stack import COMMIT_MILLISECONDS, PARTITIONS, Kind, modules
from benchmarks.events._trials import UNITS, EventTrial
from benchmarks.events._work import BODY_BYTES, IN_FLIGHT

_WORK: Mapping[Work, str] = {
    "publish": f"{BODY_BYTES} bytes, {IN_FLIGHT} in flight, each confirmed; p50 and p99 are until the confirm",
    "consume": f"{IN_FLIGHT} unsettled at most, each handled and acknowledged; both: and published before",
    "latency": "one message at a time; p50 and p99 are from publishing to handling, cpu is of both sides",
}
_PLACES: Mapping[Kind, str] = {
    Kind.RABBITMQ: "one node, durable quorum queues",
    Kind.KAFKA: f"one node, KRaft, {PARTITIONS} partitions, acks=all, idempotent, no linger, {COMMIT_MILLISECONDS} ms "
    "between commits; clients fetch ahead while they publish",
}


class EventsBenchmark(Benchmark):
    """CPU, rate and latency of messages."""

    name = "events"
    summary = "messages over RabbitMQ and Kafka: published until confirmed, consumed until acknowledged, one at a time"
    subjects = (
        Subject("raw", Role.LIMIT, "AMQP frames by hand; librdkafka by blocking calls", "confluent-kafka"),
        Subject("hasten", Role.OURS, "hasten.events.Bus, its defaults", "hasten"),
        Subject("hasten-broker", Role.OURS, "its brokers alone: no retries, no drain, no context for each message"),
        Subject("aiormq", Role.PEER, "two connections, acknowledgements in batches", "aiormq"),
        Subject("aio-pika", Role.PEER, "two robust connections, acknowledgements in batches", "aio-pika"),
        Subject("faststream", Role.PEER, "over aio-pika, no injection, no middlewares, msgspec", "faststream"),
        Subject("aiokafka", Role.PEER, "batches, handled offsets committed", "aiokafka"),
        Subject("faststream-aiokafka", Role.PEER, "its default: commits what was read, handled or not"),
        Subject("faststream-aiokafka-each", Role.PEER, "commits each message when it was handled"),
        Subject("faststream-confluent", Role.PEER, "its default: commits what was read, handled or not"),
    )
    units: Mapping[str, str] = UNITS
    packages = ("uvloop", "msgspec")

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Start the brokers that the chosen cases need, with every subject; yield the trials."""
        subjects = [subject.name for subject in effort.choose(self.subjects)]
        with Stage() as stage:
            trials: list[Trial] = []
            conditions: dict[str, str] = {}
            for kind in Kind:
                taking_part = [subject for subject in subjects if subject in modules(kind)]
                if taking_part and any(effort.measures(_case(kind, work)) for work in _WORK):
                    backend = stage.enter_context(Backend(kind, Cores.available().server))
                    conditions[str(kind)] = f"{backend.version}, {_PLACES[kind]}"
                    conditions |= {_case(kind, work): about for work, about in _WORK.items()}
                    processes = {subject: _start(stage, subject, kind, backend) for subject in taking_part}
                    trials += _trials(kind, processes, quick=effort.quick)
            stage.suspend()
            yield Prepared(tuple(trials), conditions)


def _case(kind: Kind, work: Work) -> str:
    return f"{kind}-{work}"


def _start(stage: Stage, subject: str, kind: Kind, backend: Backend) -> OrderedProcess:
    command = [sys.executable, "-m", *modules(kind)[subject], backend.place, str(backend.broker_pid)]
    return stage.start(OrderedProcess(f"{subject} over {kind}", command, Cores.available().client))


def _trials(kind: Kind, processes: Mapping[str, OrderedProcess], *, quick: bool) -> Iterator[Trial]:
    many, few = (400, 60) if quick else (2000, 300)
    for subject, process in processes.items():
        for work in _WORK:
            order = Drive(work, few if work == "latency" else many)
            yield EventTrial(subject, _case(kind, work), process, order, turns=1 if quick else 2)

"""A broker that is killed and comes back: which messages are lost or come twice, and how soon all goes on."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from hasten._core.errors import HastenError
from hasten.drill._drill import Drill, Impossible
from hasten.drill._flow import Flow, Look, comes, seconds_ready, until_ready
from hasten.drill._rabbitmq import RabbitMQ, rabbitmq
from hasten.drill._result import Measure
from hasten.drill._stage import Stage, free_port
from hasten.drill.subjects.consumer import CONCURRENCY, QUEUE, RECONNECT, STUCK_AFTER, TOPIC
from hasten.events import Bus
from hasten.http.client import Client

_SUBJECT = "hasten.drill.subjects.consumer"
_TIMEOUT = 2.0  # seconds until a number must be confirmed
_WELL, _AWAY = 5.0, 3.0  # seconds before a kill, and from the kill to the start
_START = 30.0  # seconds
_LOOK = 0.05  # seconds between two looks whether the consumer is ready
_AGAIN, _LATE, _KNOWN, _READY = 2.0, 0.1, 1.0, 1.0  # seconds that are asked
_PEER = "aio-pika"


@dataclass(frozen=True, slots=True)
class Restart:
    """When a broker was killed, and when it answered again, by `time.monotonic()`."""

    killed_at: float
    answers_at: float


async def _run(stage: Stage) -> Sequence[Measure]:
    kills, looks = (1 if stage.quick else 2), list[Look]()
    with _unsaid():
        async with rabbitmq(stage) as broker, AsyncExitStack() as opened:
            flows = [await opened.enter_async_context(_ours(stage, broker.url, looks))]
            if find_spec("aio_pika"):
                flows.append(await opened.enter_async_context(_aio_pika(stage, broker.url)))
            restarts = await _restarted(stage, broker, flows, kills)
    for flow in flows:
        flow.read()  # what was under way when its consumer was ended, too
    return [*_kept(flows, kills), *_goes_on(flows, restarts), *_is_ready(flows[0], looks, restarts)]


@contextmanager
def _unsaid() -> Iterator[None]:
    """Let clients say nothing of a broker that is away, but to those who listen to their loggers."""
    nowhere = logging.NullHandler()
    loggers = [logging.getLogger(name) for name in ("hasten.events", "aio_pika", "aiormq")]
    for logger in loggers:
        logger.addHandler(nowhere)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(nowhere)


# ---- who publishes and consumes


@asynccontextmanager
async def _ours(stage: Stage, url: str, looks: list[Look]) -> AsyncIterator[Flow]:
    """Consume by `hasten run`, and ask it all the while whether it is ready.

    Raises:
      Impossible: it never is.
    """
    file, admin = stage.folder / "hasten", f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "hasten", "run", f"{_SUBJECT}:bus", "--admin", admin]
    async with (
        stage.started("consumer", command, _environment(url, file)) as process,
        Client(f"http://{admin}", timeout=1.0, retry=None, breaker=None) as client,
        Bus(url, timeout=_TIMEOUT) as bus,
    ):
        await asyncio.to_thread(process.wait_answering, f"http://{admin}/readyz", _START)
        watching = asyncio.create_task(_watch(client, looks))
        try:
            if not await comes(lambda: any(look.ready for look in looks)):
                raise Impossible("the consumer does not become ready")
            yield Flow(lambda number: bus.publish(TOPIC, number), file)
        finally:
            watching.cancel()


async def _watch(client: Client, looks: list[Look]) -> None:
    while True:
        ready = False
        with suppress(HastenError):  # who does not answer is not ready
            ready = (await client.get("/readyz")).ok
        looks.append(Look(monotonic(), ready))
        await asyncio.sleep(_LOOK)


@asynccontextmanager
async def _aio_pika(stage: Stage, url: str) -> AsyncIterator[Flow]:
    import aio_pika

    file = stage.folder / QUEUE
    async with (
        stage.uvicorn(f"{_SUBJECT}:app", **_environment(url, file)),
        await aio_pika.connect_robust(url, reconnect_interval=RECONNECT) as connection,
    ):
        exchange = (await connection.channel(on_return_raises=True)).default_exchange

        async def publish(number: int) -> None:
            message = aio_pika.Message(b"%d" % number, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await exchange.publish(message, QUEUE, timeout=_TIMEOUT)

        yield Flow(publish, file)


def _environment(url: str, file: Path) -> dict[str, str]:
    return {"HASTEN_DRILL_BROKER": url, "HASTEN_DRILL_HANDLED": str(file)}


# ---- what happens


async def _restarted(stage: Stage, broker: RabbitMQ, flows: Sequence[Flow], kills: int) -> list[Restart]:
    """Publish while a broker is killed so often; return when all that was confirmed is handled, or is lost."""
    restarts, over = list[Restart](), asyncio.Event()
    driving = [asyncio.create_task(flow.drive(over)) for flow in flows]
    try:
        for number in range(kills):
            await asyncio.sleep(_WELL)  # a queue that is younger than 2 s does not survive it
            stage.say(f"kill {number + 1} of {kills}: {len(flows[0].confirmed)} messages confirmed")
            killed_at = monotonic()
            await broker.kill()
            await asyncio.sleep(_AWAY)
            restarts.append(Restart(killed_at, await broker.start()))
            await asyncio.gather(*(flow.moves() for flow in flows))
        await asyncio.sleep(_WELL)
        over.set()
        await asyncio.gather(*driving)
    finally:
        for task in driving:
            task.cancel()
    await asyncio.gather(*(flow.settle() for flow in flows))
    return restarts


# ---- what is promised


def _kept(flows: Sequence[Flow], kills: int) -> Iterator[Measure]:
    confirmed = [len(flow.confirmed) for flow in flows]
    peer = f"of {confirmed[-1]} by {_PEER}"
    promise = f"lost of {confirmed[0]} messages that were confirmed, kills of the broker: {kills}"
    yield _measure(promise, 0, "messages", lambda flow: flow.lost, flows, peer)
    promise = f"handled once more, where {CONCURRENCY} are under way at most at a kill"
    yield _measure(promise, kills * CONCURRENCY, "messages", lambda flow: flow.again, flows, peer)


def _goes_on(flows: Sequence[Flow], restarts: Sequence[Restart]) -> Iterator[Measure]:
    def until_handled(flow: Flow) -> float:
        return max(flow.until_handled(restart.answers_at) for restart in restarts)

    promise = "until a message is handled, once the broker answers again"
    yield _measure(promise, _AGAIN, "s", until_handled, flows, _PEER)
    promise = f"the longest publish, to be confirmed within {_TIMEOUT:g} s"
    yield _measure(promise, _TIMEOUT + _LATE, "s", lambda flow: flow.longest, flows, _PEER)


def _measure(
    promise: str, asked: float, unit: str, value: Callable[[Flow], float], flows: Sequence[Flow], beside: str
) -> Measure:
    ours, *peers = map(value, flows)
    if not peers:
        return Measure(promise=promise, asked=asked, measured=ours, unit=unit)
    return Measure(promise=promise, asked=asked, measured=ours, unit=unit, beside=beside, beside_measured=peers[0])


def _is_ready(ours: Flow, looks: Sequence[Look], restarts: Sequence[Restart]) -> Iterator[Measure]:
    """Nothing is handled from the kill until `goes_on_at`."""
    pairs = [(one.killed_at, one.answers_at + ours.until_handled(one.answers_at)) for one in restarts]
    yield Measure(
        promise=f"of an outage, for how long the consumer says that it is ready (stuck_after={STUCK_AFTER:g})",
        asked=STUCK_AFTER + _KNOWN,
        measured=max(seconds_ready(looks, *pair) for pair in pairs),
        unit="s",
    )
    yield Measure(
        promise="until it says so again, once it handles messages",
        asked=_READY,
        measured=max(until_ready(looks, goes_on_at) for _, goes_on_at in pairs),
        unit="s",
    )


BROKER_RESTART = Drill(
    name="broker-restart",
    about="a broker that is killed and started again, twice, while messages are published",
    run=_run,
)

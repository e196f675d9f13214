"""A broker that is killed, short of memory, or behind TLS: nothing confirmed is lost, and all goes on by itself."""

import asyncio
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hasten.events import BrokerUnavailable, PublishTimeout
from hasten.events.brokers._amqp_topology import YOUNG_SECONDS, count, exists, retries_of
from hasten.events.brokers.rabbitmq import rabbit_broker
from servers import Running, rabbitmqctl
from tests.events.brokers.adapter import new_topic, run
from tests.events.brokers.rabbitmq.peer import message
from tests.events.brokers.rabbitmq.test_real import Inbox, of, publish, running
from tests.rpc.certificates import Certificates, make_certificates

pytestmark = pytest.mark.timeout(180)


async def aged() -> None:
    """Wait until the queues that were just made are what the broker finds again; `YOUNG_SECONDS` says why."""
    await asyncio.sleep(YOUNG_SECONDS)


async def restart(server: Running) -> None:
    """Kill the broker, and start it again with what it had written."""
    await asyncio.to_thread(server.kill)
    server.start()  # in the main thread: the server ends with the thread that started it
    await asyncio.to_thread(server.await_ready)


@pytest.mark.may_block
def test_killed_while_publishing(own_rabbitmq: Running) -> None:
    """SIGKILL amid publishing and consuming: every message is confirmed in the end, and none of them is lost."""

    async def scenario() -> None:
        topic, inbox = new_topic(), Inbox()
        publisher, consumer = rabbit_broker(own_rabbitmq.url), rabbit_broker(own_rabbitmq.url)
        async with running(publisher, consumer):
            intake = await consumer.subscribe(of(topic, prefetch=50), inbox.receive)
            await aged()

            async def publish_some(begin: int) -> None:
                for number in range(begin, begin + 150):
                    deadline = time.monotonic() + 120.0
                    await publisher.publish(message(number, topic=topic), deadline=deadline)

            work = asyncio.gather(*(publish_some(150 * each) for each in range(20)))
            ids: set[str] = set()
            while len(ids) < 500:
                delivery = await inbox.next()
                intake.accept(delivery)
                ids.add(delivery.envelope.id)
            assert not work.done()
            await restart(own_rabbitmq)
            while len(ids) < 3000:
                delivery = await inbox.next()
                intake.accept(delivery)
                ids.add(delivery.envelope.id)
            await work
        assert ids == {f"id-{number}" for number in range(3000)}
        assert len(inbox.all) < 3000 + 2 * 50 + 2 * 20 + 500

    run(scenario())


@pytest.mark.may_block
def test_killed_while_they_wait(own_rabbitmq: Running) -> None:
    """SIGKILL when messages wait for their retry or their delay, and when they leave: each one comes."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(own_rabbitmq.url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic, prefetch=400), inbox.receive)
            await publish(broker, topic, 1000, delay=3.5)
            intake.accept(await inbox.next())  # so the waiting queue of the delay has aged
            await publish(broker, topic, *range(200))
            deliveries = await inbox.some(200)
            await publish(broker, topic, *range(200, 400), delay=3.5)
            retries = (intake.retry(each, 3.0 + 0.005 * at, attempt=2, reason="") for at, each in enumerate(deliveries))
            await asyncio.gather(*retries)
            came: dict[int, int] = {}
            while len(came) < 50:  # some have left their queue, some are about to
                delivery = await inbox.next()
                intake.accept(delivery)
                came[int(delivery.envelope.body)] = delivery.envelope.attempt
            await restart(own_rabbitmq)
            while len(came) < 400:
                delivery = await inbox.next()
                intake.accept(delivery)
                came[int(delivery.envelope.body)] = delivery.envelope.attempt
        assert came == {**dict.fromkeys(range(200), 2), **dict.fromkeys(range(200, 400), 1)}

    run(scenario())


@pytest.mark.may_block
def test_killed_after_the_first_retry(own_rabbitmq: Running) -> None:
    """The message is not settled before the broker, killed, would find the new queue with its copy again."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(own_rabbitmq.url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic), inbox.receive)
            await aged()
            await publish(broker, topic, 1)
            first = await inbox.next()
            retrying = asyncio.ensure_future(intake.retry(first, 20.0, attempt=2, reason=""))
            queue, _ = retries_of("hasten", topic, "billing").queue(20_000, time.time())
            connection = await broker._consuming.get()
            while not (await exists(connection, queue) and await count(connection, queue)):
                await asyncio.sleep(0.01)
            await restart(own_rabbitmq)
            again = await inbox.next()
            assert (again.envelope.id, again.envelope.attempt) == (first.envelope.id, 1)
            intake.accept(again)
            await retrying

    run(scenario())


@pytest.mark.may_block
def test_away(own_rabbitmq: Running) -> None:
    """While the broker is away, publishing ends at its deadline, and starting says why it cannot."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(own_rabbitmq.url), Inbox()
        async with running(broker):
            await broker.subscribe(of(topic), inbox.receive)
            await aged()
            await asyncio.to_thread(own_rabbitmq.kill)
            with pytest.raises(PublishTimeout):
                await broker.publish(message(1, topic=topic), deadline=time.monotonic() + 0.1)
            assert not broker.connected
            with pytest.raises(BrokerUnavailable):
                await rabbit_broker(own_rabbitmq.url).start()
            patient = asyncio.ensure_future(publish(broker, topic, 2))
            own_rabbitmq.start()
            await patient
            assert (await inbox.next()).envelope.id == "id-2"
            assert broker.connected

    run(scenario())


@pytest.mark.may_block
def test_short_of_memory(own_rabbitmq: Running) -> None:
    """The broker's memory alarm stops publishers, who learn why, and not consumers; when it ends all goes on."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(own_rabbitmq.url), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic, prefetch=1), inbox.receive)
            await publish(broker, topic, *range(10))
            await asyncio.to_thread(rabbitmqctl, own_rabbitmq, "set_vm_memory_high_watermark", "0")
            try:
                # The broker says that it blocks us when it gets the next message.
                with pytest.raises(PublishTimeout, match="low on memory"):
                    await broker.publish(message(99, topic=topic), deadline=time.monotonic() + 1.0)
                for _ in range(10):
                    intake.accept(await inbox.next())
                patient = asyncio.ensure_future(publish(broker, topic, 11))
            finally:
                await asyncio.to_thread(rabbitmqctl, own_rabbitmq, "set_vm_memory_high_watermark", "absolute", "2GB")
            await patient

    run(scenario())


@pytest.mark.may_block
def test_what_is_in_the_broker(own_rabbitmq: Running) -> None:
    """All queues are durable quorum queues, named after topic and group; what waits is moved at least once."""

    async def scenario() -> None:
        topic, broker, inbox = new_topic(), rabbit_broker(f"{own_rabbitmq.url}?exchange=shop"), Inbox()
        async with running(broker):
            intake = await broker.subscribe(of(topic, ordered=True), inbox.receive)
            await publish(broker, topic, 1)
            await intake.retry(await inbox.next(), 3600.0, attempt=2, reason="")
            columns = ("list_queues", "--silent", "name", "type", "durable", "arguments")
            lines = (await asyncio.to_thread(rabbitmqctl, own_rabbitmq, *columns)).splitlines()
            ours = dict(line.split("\t", 1) for line in lines if line.startswith(f"shop:{topic}"))
            assert sorted(name.replace(topic, "T").split(":")[2:][:2] for name in ours) == [
                ["billing"],
                ["billing", "dead"],
                ["billing", "retry"],
            ]
            assert all(rest.startswith("quorum\ttrue") for rest in ours.values())
            assert "x-single-active-consumer" in ours[f"shop:{topic}:billing"]
            assert all("at-least-once" in rest for name, rest in ours.items() if not name.endswith(":dead"))
            exchanges = await asyncio.to_thread(rabbitmqctl, own_rabbitmq, "list_exchanges", "name", "type", "durable")
            assert "shop\ttopic\ttrue" in exchanges

    run(scenario())


# ---- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A small authority's work."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH")
    return make_certificates(openssl, tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def behind_tls(server: str, certificates: Certificates, place: str = "127.0.0.1") -> AsyncIterator[int]:
    """Give the port of a proxy that speaks TLS, in front of a broker."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    host, port = server.rpartition("@")[2].strip("/").split(":")
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection(host, int(port))
        for pair in ((reader, behind[1]), (behind[0], writer)):
            tasks.add(asyncio.ensure_future(pump(*pair)))

    proxy = await asyncio.start_server(serve, place, 0, ssl=context)
    try:
        yield int(proxy.sockets[0].getsockname()[1])
    finally:
        proxy.close()
        await asyncio.gather(*tasks)


@pytest.mark.may_block  # openssl's files are read when the broker is made
def test_tls(own_rabbitmq: Running, certificates: Certificates) -> None:
    """Over TLS all goes as without; the server's certificate must be the named authority's, and for the name."""

    async def scenario() -> None:
        topic, inbox = new_topic(), Inbox()
        async with behind_tls(own_rabbitmq.url, certificates) as port:
            broker = rabbit_broker(f"amqps://localhost:{port}?cafile={certificates.ca}")
            async with running(broker):
                intake = await broker.subscribe(of(topic), inbox.receive)
                await publish(broker, topic, *range(300))
                for _ in range(300):
                    intake.accept(await inbox.next())
            with pytest.raises(BrokerUnavailable, match=r"(?i)certificate verify failed"):
                await rabbit_broker(f"amqps://localhost:{port}").start()
        async with behind_tls(own_rabbitmq.url, certificates, "127.0.0.2") as port:
            with pytest.raises(BrokerUnavailable, match=r"(?i)certificate verify failed"):
                await rabbit_broker(f"amqps://127.0.0.2:{port}?cafile={certificates.ca}").start()

    run(scenario())


def test_no_tls_there(own_rabbitmq: Running) -> None:
    """TLS to a port that has none is an error within seconds, not a wait."""

    async def scenario() -> None:
        place = own_rabbitmq.url.rpartition("@")[2]
        with pytest.raises(BrokerUnavailable):
            await rabbit_broker(f"amqps://{place}").start()

    run(scenario())

"""scripts/services and servers: RabbitMQ and Kafka are real, on loopback only, and leave nothing behind."""

import contextlib
import ipaddress
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import confluent_kafka as kafka
import pytest

from peers import tools
from servers import KAFKA, RABBITMQ, SERVERS, Running, rabbitmqctl
from tests.own_servers import own_server, place_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "services"
PROCESSES = {"java", "epmd", "beam.smp", "erl_child_setup"}  # of Kafka and RabbitMQ
GONE_WITHIN = 10_000  # milliseconds
PRINT_PLACES = "import json, os; print(json.dumps(dict(os.environ)), flush=True); input()"


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which no broker is given and everything else is, so that only brokers start."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HASTEN_")}
    given = {one.variable: "given" for one in (*SERVERS, *tools()) if one not in (RABBITMQ, KAFKA)}
    return {**kept, **given, "HASTEN_NO_INSTALL": "1", **changes}


class Run:
    """A run of scripts/services whose command prints its environment and waits."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._messages = folder / "messages"
        pipe = subprocess.PIPE
        with self._messages.open("w") as messages:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), "run", *options, "--", sys.executable, "-c", PRINT_PLACES],
                env=environment(TMPDIR=str(folder)),
                stdin=pipe,
                stdout=pipe,
                stderr=messages,
                text=True,
            )
        assert self.process.stdout is not None
        self.places: dict[str, str] = json.loads(self.process.stdout.readline() or "{}")

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate("\n", timeout=50)  # the command ends, and the run with it

    @property
    def messages(self) -> str:
        return self._messages.read_text()


@pytest.fixture
def both_there() -> None:
    """Skip where a broker is missing; fail where every server is required."""
    place_of(RABBITMQ)
    place_of(KAFKA)


@pytest.fixture(scope="module")
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a node of this module's own, which runs before and after each test."""
    with own_server(RABBITMQ, tmp_path_factory.mktemp("own") / "rabbitmq") as running:
        yield running


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a broker of this module's own, which runs before and after each test."""
    with own_server(KAFKA, tmp_path_factory.mktemp("own") / "kafka") as running:
        yield running


@pytest.fixture(params=["rabbitmq", "kafka"])
def broker(request: pytest.FixtureRequest) -> Running:
    """Return each of them in turn."""
    running: Running = request.getfixturevalue(f"own_{request.param}")
    return running


# ---- what is left of them


def processes_of(folder: Path) -> dict[int, str]:
    """Return the processes that have `folder` in their environment or arguments, by pid, with their names."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            if os.fsencode(folder) in words and process.name != str(os.getpid()):
                found[int(process.name)] = (process / "comm").read_text().strip()
        except OSError:  # it ended meanwhile
            continue
    return found


def await_end(pids: list[int]) -> list[int]:
    """Return those that have not ended within GONE_WITHIN."""
    return [pid for pid in pids if not _ends(pid)]


def _ends(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(GONE_WITHIN))
    finally:
        os.close(handle)


def listening_addresses(pids: list[int]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the addresses on which processes listen, as the kernel has them."""
    sockets = {inode for pid in pids for inode in _sockets(pid)}
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return [_address(row[1]) for row in rows if row[3] == "0A" and row[9] in sockets]


def _sockets(pid: int) -> Iterator[str]:
    """Return the inodes of a process's sockets."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            yield str(link.readlink()).removeprefix("socket:[").removesuffix("]")


def _address(place: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address of a place as /proc/net/tcp has it: words of 32 bits in the machine's order."""
    words = place.partition(":")[0]
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    address = ipaddress.ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address


# ---- talking to them


def login(port: int) -> tuple[int, int]:
    """Log in to RabbitMQ as guest and return class and method of its answer."""
    start_ok = struct.pack(">HHI", 10, 11, 0) + b"\x05PLAIN" + struct.pack(">I", 12) + b"\0guest\0guest" + b"\x05en_US"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        _, _, size = struct.unpack(">BHI", answers.read(7))
        answers.read(size + 1)
        connection.sendall(struct.pack(">BHI", 1, 0, len(start_ok)) + start_ok + b"\xce")
        answers.read(7)
        answer: tuple[int, int] = struct.unpack(">HH", answers.read(4))
    return answer


def remember_in_rabbitmq(broker: Running) -> None:
    rabbitmqctl(broker, "add_vhost", "remembered")


def is_remembered_by_rabbitmq(broker: Running) -> bool:
    remembered = "remembered" in rabbitmqctl(broker, "list_vhosts").split()
    rabbitmqctl(broker, "delete_vhost", "remembered")
    return remembered


def remember_in_kafka(broker: Running) -> None:
    producer = kafka.Producer({"bootstrap.servers": broker.url, "acks": "all"})
    producer.produce("remembered", b"yes")
    assert producer.flush(20) == 0


def is_remembered_by_kafka(broker: Running) -> bool:
    options = {"bootstrap.servers": broker.url, "group.id": "any", "auto.offset.reset": "earliest"}
    consumer = kafka.Consumer(options)
    try:
        consumer.subscribe(["remembered"])
        message = consumer.poll(30)
        return message is not None and message.error() is None and message.value() == b"yes"
    finally:
        consumer.close()


REMEMBER: dict[str, tuple[Callable[[Running], None], Callable[[Running], bool]]] = {
    "rabbitmq": (remember_in_rabbitmq, is_remembered_by_rabbitmq),
    "kafka": (remember_in_kafka, is_remembered_by_kafka),
}


# ---- those that scripts/services starts for all tests


@pytest.mark.usefixtures("both_there")
def test_brokers_answer_and_are_ended(tmp_path: Path) -> None:
    """The command finds brokers that serve clients; afterwards every process and every file of theirs is gone."""
    with Run(tmp_path, "--with", "rabbitmq,kafka") as run:
        amqp, broker = run.places["HASTEN_TEST_AMQP_URL"], run.places["HASTEN_TEST_KAFKA"]
        assert amqp.startswith("amqp://guest:guest@127.0.0.1:")
        assert login(int(amqp.rpartition(":")[2].rstrip("/"))) == (10, 30)  # Connection.Tune: logged in
        metadata = kafka.Producer({"bootstrap.servers": broker}).list_topics(timeout=20)
        assert [f"{one.host}:{one.port}" for one in metadata.brokers.values()] == [broker]
        pids = processes_of(tmp_path)
        assert set(pids.values()) >= PROCESSES
    assert run.process.returncode == 0
    assert await_end(list(pids)) == []
    assert [file.name for file in tmp_path.iterdir()] == ["messages"]


@pytest.mark.usefixtures("both_there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_broker_outlives_its_run(number: signal.Signals, tmp_path: Path) -> None:
    """A run that SIGTERM interrupts ends its brokers, and the kernel does when the run is killed; epmd ends too."""
    with Run(tmp_path, "--with", "rabbitmq", "--with", "kafka") as run:
        pids = processes_of(tmp_path)
        assert set(pids.values()) >= PROCESSES
        run.process.send_signal(number)
        run.process.wait(40)
    assert (
        await_end([pid for pid, name in pids.items() if name in {"beam.smp", "epmd", "java", "erl_child_setup"}]) == []
    )


def test_brokers_are_started_on_demand_only(tmp_path: Path) -> None:
    """Without `--with` no broker is started or missed, and a name that is none is a usage error."""
    with Run(tmp_path) as run:
        assert not {"HASTEN_TEST_AMQP_URL", "HASTEN_TEST_KAFKA"} & set(run.places)
    assert "kafka" not in run.messages
    assert "rabbitmq" not in run.messages
    with Run(tmp_path, "--with", "kafka,zeromq") as run:
        pass
    assert run.process.returncode == 2
    assert "'zeromq' is none of kafka, rabbitmq" in run.messages


# ---- those of a test's own


def test_brokers_listen_on_loopback_only(broker: Running) -> None:
    """Every port of a broker, those between nodes included, is closed to the network."""
    addresses = listening_addresses(broker.pids)
    assert len(addresses) >= len(broker.ports)
    assert all(address.is_loopback for address in addresses)


def test_killed_broker_comes_back_with_its_data(broker: Running) -> None:
    """A broker that is killed leaves no process, and starts again at its place with all that it had confirmed."""
    remember, is_remembered = REMEMBER[broker.server.name]
    remember(broker)
    url, pids = broker.url, processes_of(broker.folder)
    broker.kill()
    assert await_end(list(pids)) == []
    broker.start()
    broker.await_ready()
    assert broker.url == url
    assert is_remembered(broker)


def test_frozen_broker_does_not_answer_until_it_is_thawed(broker: Running) -> None:
    """A frozen broker lets clients connect and answers nothing; thawed it goes on."""
    broker.freeze()
    try:
        with pytest.raises(TimeoutError):
            broker.server.ready(broker.ports)
    finally:
        broker.thaw()
    broker.await_ready()


def test_rabbitmqctl_sets_off_the_memory_alarm(own_rabbitmq: Running) -> None:
    """`rabbitmqctl set_vm_memory_high_watermark 0` blocks the publishers of the node that it is called for."""
    alarms = ("eval", "rabbit_alarm:get_alarms().")
    assert rabbitmqctl(own_rabbitmq, *alarms).strip() == "[]"
    rabbitmqctl(own_rabbitmq, "set_vm_memory_high_watermark", "0")
    try:
        assert "memory" in rabbitmqctl(own_rabbitmq, *alarms)
    finally:
        rabbitmqctl(own_rabbitmq, "set_vm_memory_high_watermark", "0.4")
    assert rabbitmqctl(own_rabbitmq, *alarms).strip() == "[]"


def test_failed_rabbitmqctl_says_why(own_rabbitmq: Running) -> None:
    """A command that fails raises CalledProcessError with what rabbitmqctl said."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        rabbitmqctl(own_rabbitmq, "delete_user", "nobody")
    assert "nobody" in error.value.stdout + error.value.stderr

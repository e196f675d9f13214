"""RabbitMQ: one node with an epmd of its own, every port on loopback, no plugins, guest allowed in.

The node is the process that is started here, without a shell around it, so that signals reach it and nothing else.
Source: rabbitmq-server(8), rabbitmq-env and the scripts of RabbitMQ 3.10; epmd(1).
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from peers import on_path
from servers._server import Command, DebianPackage, Running, Server, connect, receive

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
FRAME_HEAD = 7  # bytes: kind, channel, size
METHOD = 1  # the kind of a frame that carries a method
CONNECTION_START = b"\x00\x0a\x00\x0a"  # class and method
CONTROL_WITHIN = 60.0  # seconds; a command of rabbitmqctl starts an Erlang machine of its own

# Without the first each Erlang process that lacks epmd starts one, which nobody ends; without the second the port
# between nodes is open to the network.
ERLANG_FLAGS = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"

# Enough for every test; without a limit it is a share of the machine's memory.
CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
vm_memory_high_watermark.absolute = 2GB
log.file = false
log.console = true
log.console.level = warning
log.console.use_colors = off
"""


def commands(place: str, ports: Sequence[int], folder: Path) -> list[Command]:
    amqp, _, epmd = ports
    (folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=amqp))
    (folder / "enabled_plugins").write_text("[].\n")
    variables = environment(ports, folder)
    return [
        Command([on_path("epmd") or "epmd"], variables, listens=epmd),
        Command([str(script(place, "rabbitmq-server"))], variables, folder),
    ]


def environment(ports: Sequence[int], folder: Path) -> dict[str, str]:
    """Return the environment of the node and of rabbitmqctl; nothing of a RabbitMQ of the machine's own is in it."""
    amqp, distribution, epmd = ports
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
    return kept | {
        "HOME": str(folder),  # the cookie that nodes know each other by is written there
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd),
        "ERL_ZFLAGS": ERLANG_FLAGS,
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_NODENAME": f"hasten{amqp}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),  # not there
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ALLOW_INPUT": "true",  # the script becomes the node instead of waiting for it
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput",
    }


def script(place: str, name: str) -> Path:
    """Return a script of RabbitMQ itself; what Debian has on PATH is a wrapper that runs it as another user."""
    return Path(place).resolve().parent / name


def ready(ports: Sequence[int]) -> bool:
    """Return whether Connection.Start answers the protocol header, as AMQP 0-9-1 has it in section 2.2.4."""
    with connect(ports[0]) as connection:
        connection.sendall(PROTOCOL_HEADER)
        frame = receive(connection, FRAME_HEAD + len(CONNECTION_START))
    return frame[0] == METHOD and frame[FRAME_HEAD:] == CONNECTION_START


def rabbitmqctl(broker: Running, *arguments: str) -> str:
    """Run rabbitmqctl on a broker that runs and return what it prints; `set_vm_memory_high_watermark 0` blocks it.

    Raises:
      subprocess.CalledProcessError: the command failed; its output says why.
    """
    command = [str(script(broker.place, "rabbitmqctl")), "--quiet", *arguments]
    done = subprocess.run(
        command,
        env=environment(broker.ports, broker.folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=CONTROL_WITHIN,
    )
    return done.stdout


RABBITMQ = Server(
    name="rabbitmq",
    origin=DebianPackage("rabbitmq-server", ("rabbitmq-server", "epmd")),
    variable="HASTEN_TEST_AMQP_URL",
    url="amqp://guest:guest@{place}/",
    commands=commands,
    ready=ready,
    ports=3,
    on_demand=True,
)

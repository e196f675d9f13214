"""PostgreSQL, for the tables that events are noted in and sent from.

PostgreSQL refuses to run as root, so root runs it as the user that its Debian package makes, and lets that user reach
its data through the folders above them.
"""

import os
import pwd
import stat
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers._server import Command, DebianPackage, Server, connect, receive

_PROTOCOL = 3 << 16
_OWNER = "postgres"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # a test kills processes, not the machine
    "max_connections": "200",
}


class PostgresPackage(DebianPackage):
    """PostgreSQL of Debian's, which leaves its server's executables off PATH."""

    def find(self) -> str | None:
        found = super().find()
        if found is not None:
            return str(Path(found).resolve())
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
        return str(versions[-1]) if versions else None


def postgres_commands(executable: str, ports: Sequence[int], folder: Path) -> list[Command]:
    data = folder / "data"
    as_owner = _as_owner(folder)
    if not data.exists():
        initdb = str(Path(executable).with_name("initdb"))
        options = ["--username", "hasten", "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
        subprocess.run(
            [*as_owner, initdb, "-D", str(data), *options], check=True, stdout=subprocess.DEVNULL, cwd=folder
        )
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    return [Command([*as_owner, executable, "-D", str(data), "-p", str(ports[0]), *settings], folder=folder)]


def _as_owner(folder: Path) -> list[str]:
    """Return what runs a command as a user that PostgreSQL accepts, and give that one the folder."""
    if os.geteuid() != 0:
        return []
    owner = pwd.getpwnam(_OWNER)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    for above in folder.resolve().parents:
        mode = stat.S_IMODE(above.stat().st_mode)
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)
    return ["setpriv", f"--reuid={_OWNER}", f"--regid={_OWNER}", "--init-groups", "--pdeathsig=KILL"]


def postgres_ready(ports: Sequence[int]) -> bool:
    """Ask for a session: the answer is R, and no error, when it has recovered what it had."""
    words = b"user\0hasten\0database\0postgres\0\0"
    with connect(ports[0]) as connection:
        connection.sendall(struct.pack("!II", len(words) + 8, _PROTOCOL) + words)
        return receive(connection, 1) == b"R"


POSTGRES = Server(
    name="postgres",
    origin=PostgresPackage("postgresql", ("postgres", "initdb")),
    variable="HASTEN_TEST_POSTGRES_URL",
    url="postgresql://hasten@{place}/postgres",
    commands=postgres_commands,
    ready=postgres_ready,
)

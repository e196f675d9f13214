"""A Kafka of these tests' own that has a second door: TLS, and a login behind it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from servers import KAFKA, Running
from servers._server import Command, Server
from tests.rpc.certificates import Certificates, make_certificates

USER, PASSWORD = "me", "p@ss/w?rd"
_SECOND_DOOR = """
listeners=PLAINTEXT://127.0.0.1:{0},CONTROLLER://127.0.0.1:{1},SASL_SSL://127.0.0.1:{2}
advertised.listeners=PLAINTEXT://127.0.0.1:{0},SASL_SSL://127.0.0.1:{2}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config={login} required user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={identity}
"""


@dataclass(frozen=True, slots=True)
class OwnKafka:
    """A Kafka that runs, and how it is reached.

    Attributes:
      certificates: The server's, and of who has signed it.
    """

    running: Running
    certificates: Certificates

    @property
    def url(self) -> str:
        return f"kafka://{self.running.url}"

    def locked_url(self, *, password: str = PASSWORD, **options: object) -> str:
        """Return the URL of the second door; `_` stands for `.` in options."""
        text = "&".join(f"{name.replace('_', '.')}={value}" for name, value in options.items())
        return f"kafka://{USER}:{quote(password, safe='')}@127.0.0.1:{self.running.ports[2]}?{text}".removesuffix("?")


def with_second_door(certificates: Certificates, identity: Path) -> Server:
    """Return the server that listens on one port more.

    Args:
      identity: A file that is written: key and certificate of the server, as Java wants them.
    """
    identity.write_text(certificates.server.key.read_text() + certificates.server.certificate.read_text())

    def commands(place: str, ports: Sequence[int], folder: Path) -> list[Command]:
        made = KAFKA.commands(place, ports[:2], folder)
        login = "org.apache.kafka.common.security.plain.PlainLoginModule"
        more = _SECOND_DOOR.format(*ports, login=login, user=USER, password=PASSWORD, identity=identity)
        with (folder / "server.properties").open("a") as file:
            file.write(more)
        return list(made)

    return replace(KAFKA, commands=commands, ports=3)


def certificates_in(folder: Path) -> Certificates:
    """Return new certificates; without openssl skip the test."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on PATH")
    return make_certificates(openssl, folder)

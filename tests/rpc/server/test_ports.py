"""Where a server listens, and what it says when it cannot."""

import socket
from pathlib import Path
from typing import Any

import grpc
import pytest

from hasten import ConfigurationError, rpc
from tests.conftest import LoopFactory
from tests.rpc.certificates import Certificates
from tests.rpc.server.serving import SERVICE, run
from tests.rpc.server.test_handlers import echo


def server(**options: Any) -> rpc.Server:
    made = rpc.Server(**options)
    made.add_registered_method_handlers(SERVICE, {"Unary": grpc.unary_unary_rpc_method_handler(echo)})
    return made


async def answers(target: str, **options: Any) -> bytes:
    async with rpc.Channel(target, **options) as channel:
        response: bytes = await channel.unary_unary(f"/{SERVICE}/Unary")(b"x", timeout=5)
        return response


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0", "[::]:0"])
def test_a_free_port(address: str, loop_factory: LoopFactory) -> None:
    """Port 0 becomes a number before the server starts."""

    async def conversation() -> None:
        serving = server()
        port = serving.add_insecure_port(address)
        assert 0 < port < 65_536
        await serving.start()
        host = address.rpartition(":")[0].replace("[::]", "[::1]")
        assert await answers(f"{host}:{port}") == b"x"
        await serving.stop(None)

    run(conversation(), loop_factory)


def test_unix_sockets(tmp_path: Path, loop_factory: LoopFactory) -> None:
    """A path and an abstract name; the file is gone when the server has stopped, and a stale one is no hindrance."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    name = f"unix-abstract:hasten-test-{tmp_path.name}-{id(loop_factory)}"

    async def conversation() -> None:
        serving = server()
        assert serving.add_insecure_port(f"unix:{path}") == 1
        serving.add_insecure_port(name)
        await serving.start()
        assert await answers(f"unix:{path}") == b"x"
        assert await answers(name) == b"x"
        await serving.stop(None)

    run(conversation(), loop_factory)
    assert not path.exists()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", "192.0.2.1:0", ""])
def test_addresses_that_cannot_be_bound(address: str) -> None:
    """RuntimeError that names the address, as from grpc.aio."""
    with pytest.raises(RuntimeError, match=r"^Failed to bind to address "):
        rpc.Server().add_insecure_port(address)


def test_a_port_that_is_taken() -> None:
    """Another program's port is refused; a second server of ours may share it, for a restart without a gap."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(RuntimeError, match="Address already in use"):
            rpc.Server().add_insecure_port(f"127.0.0.1:{taken}")


def test_ports_may_be_shared(loop_factory: LoopFactory) -> None:
    """Two servers listen on one port, unless grpc.so_reuseport says no."""

    async def conversation() -> None:
        first, second = server(), server()
        port = first.add_insecure_port("127.0.0.1:0")
        await first.start()
        assert second.add_insecure_port(f"127.0.0.1:{port}") == port
        with pytest.raises(RuntimeError, match="Address already in use"):
            server(options=[("grpc.so_reuseport", 0)]).add_insecure_port(f"127.0.0.1:{port}")
        await first.stop(None)
        await second.start()
        assert await answers(f"127.0.0.1:{port}") == b"x"
        await second.stop(None)

    run(conversation(), loop_factory)


def test_tls(certificates: Certificates, loop_factory: LoopFactory) -> None:
    """A TLS port serves clients that know its authority; grpc's own server credentials are refused with a remedy."""
    identity = certificates.server
    credentials = rpc.server_credentials(identity.certificate, identity.key)

    async def conversation() -> None:
        serving = server()
        pair = (identity.key.read_bytes(), identity.certificate.read_bytes())
        with pytest.raises(ConfigurationError, match="server_credentials"):
            serving.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        port = serving.add_secure_port("127.0.0.1:0", credentials)
        await serving.start()
        ours = rpc.channel_credentials(certificates.ca)
        assert await answers(f"localhost:{port}", credentials=ours) == b"x"
        await serving.stop(None)

    run(conversation(), loop_factory)


def test_a_name_with_several_addresses(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are bound to one port, as far as it is free there."""

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "stock.example"
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port)),  # nobody's
        ]

    serving = server()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolve)
        port = serving.add_insecure_port("stock.example:0")

    async def conversation() -> None:
        await serving.start()
        assert await answers(f"127.0.0.1:{port}") == b"x"
        assert await answers(f"[::1]:{port}") == b"x"
        await serving.stop(None)

    run(conversation(), loop_factory)


@pytest.mark.parametrize("credentials", [None, grpc.ssl_channel_credentials()], ids=["None", "a channel's"])
def test_no_credentials(credentials: Any) -> None:
    """A secure port without credentials for servers is refused, and never becomes an insecure one."""
    with pytest.raises(ConfigurationError, match=r"is not for servers; use hasten\.rpc\.server_credentials"):
        rpc.Server().add_secure_port("127.0.0.1:0", credentials)


def test_a_port_that_is_not_shared(loop_factory: LoopFactory) -> None:
    """With grpc.so_reuseport off a port is taken as soon as it is bound, before its server starts."""
    alone = [("grpc.so_reuseport", 0)]
    first = rpc.Server(options=alone)
    port = first.add_insecure_port("127.0.0.1:0")
    with pytest.raises(RuntimeError, match="Address already in use"):
        rpc.Server(options=alone).add_insecure_port(f"127.0.0.1:{port}")
    run(first.stop(None), loop_factory)

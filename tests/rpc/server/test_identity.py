"""Who calls, as handlers see it on every kind of port, the same on grpc.aio and on hasten."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from hasten import rpc
from tests.conftest import LoopFactory
from tests.rpc.certificates import Certificates, Identity
from tests.rpc.server.differences import expected
from tests.rpc.server.serving import SERVICE, UNARY, Context, MakeServer, both_stacks, handlers_of, run

IPV4, IPV6 = "ipv4:127.0.0.1", "ipv6:%5B::1%5D"
GROUP = "ssl_negotiated_key_exchange_group"


class Seen:
    """What a handler sees of its peer."""

    def __init__(self) -> None:
        self.peer = ""
        self.auth_context: dict[str, list[bytes]] = {}
        self.identities: tuple[str | None, Any] = (None, None)

    async def note(self, request: bytes, context: Context) -> bytes:
        self.peer = context.peer()
        self.auth_context = {key: list(values) for key, values in context.auth_context().items()}
        self.identities = (context.peer_identity_key(), context.peer_identities())
        return request


async def seen_on(
    make_server: MakeServer, address: str, target: str, credentials: Any = None, channel_credentials: Any = None
) -> Seen:
    """Return what a handler sees of a call to `target`, whose `PORT` is the number that `address` became."""
    seen, server = Seen(), make_server()
    server.add_registered_method_handlers(SERVICE, handlers_of(unary=seen.note))
    add = server.add_insecure_port if credentials is None else server.add_secure_port
    port = add(address, *(() if credentials is None else (credentials,)))
    await server.start()
    target = target.replace("PORT", str(port))
    connected = (
        grpc.aio.insecure_channel(target)
        if channel_credentials is None
        else grpc.aio.secure_channel(target, channel_credentials)
    )
    try:
        async with connected as channel:
            call: Any = channel.unary_unary(UNARY)
            await call(b"", timeout=10)
    finally:
        await server.stop(None)
    return seen


@both_stacks
@pytest.mark.parametrize(
    ("address", "target", "peer"),
    [
        ("127.0.0.1:0", "127.0.0.1:PORT", IPV4),
        ("0.0.0.0:0", "127.0.0.1:PORT", IPV4),
        ("[::1]:0", "[::1]:PORT", IPV6),
        ("[::]:0", "[::1]:PORT", IPV6),
        ("[::]:0", "127.0.0.1:PORT", IPV4),
        ("localhost:0", "127.0.0.1:PORT", IPV4),
    ],
)
def test_peer(address: str, target: str, peer: str, make_server: MakeServer, loop_factory: LoopFactory) -> None:
    """The address in gRPC's form, with the client's port; IPv4 is IPv4 also on a port for both."""
    seen = run(seen_on(make_server, address, target), loop_factory)
    name, _, port = seen.peer.rpartition(":")
    assert name == peer
    assert 0 < int(port) < 65_536


@both_stacks
def test_peer_on_unix_sockets(make_server: MakeServer, loop_factory: LoopFactory, tmp_path: Path) -> None:
    """A unix socket has no port."""
    path, name = tmp_path / "socket", f"hasten-{tmp_path.name}-{make_server.__name__}"
    on_path = run(seen_on(make_server, f"unix:{path}", f"unix:{path}"), loop_factory)
    assert on_path.peer == expected("peer on a unix socket", make_server).replace("PATH", str(path))
    abstract = run(seen_on(make_server, f"unix-abstract:{name}", f"unix-abstract:{name}"), loop_factory)
    assert abstract.peer == expected("peer on an abstract unix socket", make_server).replace("NAME", name)


def credentials_of(make_server: MakeServer, certificates: Certificates, *, mutual: bool) -> Any:
    """Return a server's credentials, as its stack wants them."""
    certificate, key, ca = certificates.server.certificate, certificates.server.key, certificates.ca
    if make_server is rpc.Server:
        return rpc.server_credentials(
            certificate, key, client_ca=ca if mutual else None, require_client_certificate=mutual
        )
    pair = (key.read_bytes(), certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], ca.read_bytes() if mutual else None, mutual)


def seen_over_tls(
    make_server: MakeServer, loop_factory: LoopFactory, certificates: Certificates, client: Identity | None
) -> Seen:
    """Return what a handler sees over TLS, mutual if the client has an identity."""
    credentials = credentials_of(make_server, certificates, mutual=client is not None)
    pems = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
    ours = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *pems)
    return run(seen_on(make_server, "127.0.0.1:0", "127.0.0.1:PORT", credentials, ours), loop_factory)


@both_stacks
def test_tls(make_server: MakeServer, loop_factory: LoopFactory, certificates: Certificates) -> None:
    """The connection is private, the client unknown."""
    seen = seen_over_tls(make_server, loop_factory, certificates, None)
    subject = "ssl_negotiated_key_exchange_group in the auth context"
    assert (seen.auth_context.pop(GROUP, None) is not None) is expected(subject, make_server)
    assert seen.auth_context == {
        "transport_security_type": [b"ssl"],
        "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"],
        "ssl_session_reused": [b"false"],
        "ssl_tls_version": [b"TLSv1.3"],
    }
    assert seen.identities == (None, None)
    assert seen.peer.startswith(f"{IPV4}:")


@both_stacks
def test_mutual_tls(make_server: MakeServer, loop_factory: LoopFactory, certificates: Certificates) -> None:
    """The client's alternative names are its identities, and all of its certificate is there."""
    seen = seen_over_tls(make_server, loop_factory, certificates, certificates.client)
    key, identities = seen.identities
    assert key == "x509_subject_alternative_name"
    assert list(identities)[:4] == [b"client.example", b"second.example", b"10.0.0.1", b"::1"]
    assert seen.auth_context["x509_common_name"] == [b"first"]
    assert seen.auth_context["x509_pem_cert"] == [certificates.client.certificate.read_bytes()]
    assert seen.auth_context["peer_spiffe_id"] == [b"spiffe://example.org/ns/shop/sa/stock"]


@both_stacks
def test_common_name(make_server: MakeServer, loop_factory: LoopFactory, certificates: Certificates) -> None:
    """Without alternative names the common name is the identity."""
    seen = seen_over_tls(make_server, loop_factory, certificates, certificates.plain)
    key, identities = seen.identities
    assert (key, list(identities)) == ("x509_common_name", [b"only a common name"])


@both_stacks
def test_client_of_another_authority(
    make_server: MakeServer, loop_factory: LoopFactory, certificates: Certificates
) -> None:
    """A client whose certificate another authority signed reaches no handler."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        seen_over_tls(make_server, loop_factory, certificates, certificates.stranger)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

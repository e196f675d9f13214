"""TLS contexts, and who the peer is."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import grpc.experimental
import pytest

from hasten._core.errors import ConfigurationError
from hasten.rpc._auth_context import auth_context, peer_identities, peer_identity_key
from hasten.rpc._credentials import channel_credentials, context_for_channel, context_for_server, server_credentials
from tests.rpc.certificates import Certificates, Identity

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_BY_FILE = pytest.mark.parametrize("given", ["path", "str", "bytes"])


def _as(given: str, file: Path) -> Path | str | bytes:
    if given == "bytes":
        return file.read_bytes()
    return str(file) if given == "str" else file


def _shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends of a TLS connection in memory, client first."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def _server(certificates: Certificates, **options: Any) -> ssl.SSLContext:
    return server_credentials(certificates.server.certificate, certificates.server.key, **options)


@_BY_FILE
def test_tls(certificates: Certificates, given: str) -> None:
    """Files and contents give contexts that speak TLS 1.3 and agree on h2, without asking for a client certificate."""
    server = server_credentials(_as(given, certificates.server.certificate), _as(given, certificates.server.key))
    ends = _shake_hands(channel_credentials(_as(given, certificates.ca)), server)
    assert [end.selected_alpn_protocol() for end in ends] == ["h2", "h2"]
    assert ends[0].version() == "TLSv1.3"
    assert not ends[1].getpeercert(binary_form=True)


@_BY_FILE
def test_mutual_tls(certificates: Certificates, given: str) -> None:
    """A server that requires a certificate sees the client's."""
    server = _server(certificates, client_ca=_as(given, certificates.ca), require_client_certificate=True)
    identity = certificates.plain
    client = channel_credentials(certificates.ca, _as(given, identity.certificate), _as(given, identity.key))
    _, end = _shake_hands(client, server)
    assert peer_identities(auth_context(end)) == [b"only a common name"]


@pytest.mark.parametrize("required", [True, False])
def test_client_of_another_authority(certificates: Certificates, required: bool) -> None:  # noqa: FBT001
    """A client certificate that another authority signed is refused, whether one is required or not."""
    server = _server(certificates, client_ca=certificates.ca, require_client_certificate=required)
    stranger = certificates.stranger
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(channel_credentials(certificates.ca, stranger.certificate, stranger.key), server)


def test_client_without_certificate(certificates: Certificates) -> None:
    """A client without a certificate is refused where one is required, and served where it is not."""
    client = channel_credentials(certificates.ca)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        _shake_hands(client, _server(certificates, client_ca=certificates.ca, require_client_certificate=True))
    _, end = _shake_hands(client, _server(certificates, client_ca=certificates.ca))
    assert peer_identities(auth_context(end)) is None


def test_server_is_checked(certificates: Certificates) -> None:
    """A channel refuses a server of an authority it does not know, and one with another name."""
    server = _server(certificates)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(channel_credentials(), server)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _shake_hands(channel_credentials(certificates.ca), server, "elsewhere.example")
    _shake_hands(channel_credentials(certificates.ca), server, "127.0.0.1")


def test_trusted_certificate_need_not_be_a_root(certificates: Certificates) -> None:
    """The server's own certificate may be what a channel trusts, as with grpc."""
    ends = _shake_hands(channel_credentials(certificates.server.certificate), _server(certificates))
    assert ends[0].version() == "TLSv1.3"


def test_versions_and_ciphers(certificates: Certificates) -> None:
    """Nothing below TLS 1.2 is spoken, and TLS 1.2 only with ephemeral keys and AEAD (RFC 9113 section 9.2)."""
    for context in (_server(certificates), channel_credentials(certificates.ca)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        names = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"}
        assert names
        assert all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name) for name in names)


def test_tls_1_2(certificates: Certificates) -> None:
    """A peer that knows no more than TLS 1.2 is talked to."""
    client = channel_credentials(certificates.ca)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    _, end = _shake_hands(client, _server(certificates))
    assert auth_context(end)["ssl_tls_version"] == [b"TLSv1.2"]


def _encrypted_key(certificates: Certificates, directory: Path) -> Path:
    file = directory / "encrypted.key"
    options = ["-aes256", "-passout", "pass:secret", "-out", str(file)]
    subprocess.run(["openssl", "ec", "-in", str(certificates.server.key), *options], check=True, capture_output=True)
    return file


def test_mistakes_of_a_server(certificates: Certificates, tmp_path: Path) -> None:
    """What is missing, wrong, encrypted or does not fit is one line that names it, and nothing asks a terminal."""
    own, other = certificates.server, certificates.client
    cases: list[tuple[Any, Any, dict[str, Any], str]] = [
        (own.certificate, tmp_path / "absent", {}, r"with key .*absent: .*No such file"),
        (own.certificate, other.key, {}, "KEY_VALUES_MISMATCH"),
        (b"nonsense", own.key, {}, "certificate given as bytes with key .*: cannot be read as PEM"),
        (own.certificate, b"", {}, "with key given as bytes: cannot be read as PEM"),
        (own.certificate.read_text(), own.key, {}, "a str names a file; give the contents as bytes"),
        (own.certificate, _encrypted_key(certificates, tmp_path), {}, "the private key is encrypted"),
        (own.certificate, own.key, {"require_client_certificate": True}, "needs client_ca"),
        (own.certificate, own.key, {"client_ca": b"nonsense"}, "client_ca given as bytes: cannot be read as PEM"),
        (own.certificate, own.key, {"client_ca": b""}, "client_ca given as bytes: cannot be read as PEM"),
        (own.certificate, own.key, {"client_ca": tmp_path / "absent"}, r"client_ca .*absent: .*No such file"),
    ]
    for certificate, key, options, message in cases:
        with pytest.raises(ConfigurationError, match=message):
            server_credentials(certificate, key, **options)


def test_mistakes_of_a_channel(certificates: Certificates) -> None:
    """A certificate without its key, or the reverse, is refused."""
    for pair in ((certificates.client.certificate, None), (None, certificates.client.key)):
        with pytest.raises(ConfigurationError, match="certificate and key go together"):
            channel_credentials(certificates.ca, *pair)


def test_comments_beside_a_certificate(certificates: Certificates) -> None:
    """Comments in any language around the certificates of authorities do not matter."""
    ca = (
        "# Autorité\n".encode()
        + certificates.ca.read_bytes()
        + b"# \xff\n"
        + certificates.server.certificate.read_bytes()
    )
    assert len(channel_credentials(ca).get_ca_certs()) == 1
    assert channel_credentials(ca).cert_store_stats()["x509"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux'")
def test_contents_never_reach_a_disk(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates and keys given as bytes are read without a file on a file system."""
    monkeypatch.setattr(tempfile, "tempdir", os.devnull)
    server_credentials(certificates.server.certificate.read_bytes(), certificates.server.key.read_bytes())


def test_contents_through_a_directory(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there are no files in memory, certificates and keys go through files that are gone afterwards."""

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = server_credentials(certificates.server.certificate.read_bytes(), certificates.server.key.read_bytes())
    assert _shake_hands(channel_credentials(certificates.ca), server)[0].version() == "TLSv1.3"
    assert not list(tmp_path.iterdir())


def _grpc_credentials(certificates: Certificates, identity: Identity | None = None) -> grpc.ChannelCredentials:
    if identity is None:
        return grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    return grpc.ssl_channel_credentials(
        certificates.ca.read_bytes(), identity.key.read_bytes(), identity.certificate.read_bytes()
    )


def test_credentials_of_grpc(certificates: Certificates) -> None:
    """What grpc.ssl_channel_credentials was given is read from it, mutual TLS included."""
    server = _server(certificates, client_ca=certificates.ca, require_client_certificate=True)
    client = context_for_channel(_grpc_credentials(certificates, certificates.plain))
    _, end = _shake_hands(client, server)
    assert peer_identities(auth_context(end)) == [b"only a common name"]
    assert context_for_channel(grpc.ssl_channel_credentials()).cert_store_stats() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere contents go through files")
def test_credentials_of_grpc_in_a_loop(certificates: Certificates) -> None:
    """They can be read while an event loop runs, without a call that blocks it."""
    credentials = _grpc_credentials(certificates, certificates.client)

    async def read() -> ssl.SSLContext:
        return context_for_channel(credentials)

    assert asyncio.run(read()).verify_mode is ssl.CERT_REQUIRED


def test_context_of_a_user(certificates: Certificates) -> None:
    """An SSLContext is used as it is, and agrees on h2 though nobody set ALPN."""
    client = ssl.create_default_context(cafile=certificates.ca)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.server.certificate, certificates.server.key)
    assert context_for_channel(client) is client
    assert context_for_server(server) is server
    assert [end.selected_alpn_protocol() for end in _shake_hands(client, server)] == ["h2", "h2"]


def test_context_of_the_other_side(certificates: Certificates) -> None:
    """A server's context for a channel, or the reverse, is refused with the name of the right function."""
    with pytest.raises(ConfigurationError, match=r"for the other side; use hasten.rpc.channel_credentials\(...\)"):
        context_for_channel(_server(certificates))
    with pytest.raises(ConfigurationError, match=r"for the other side; use hasten.rpc.server_credentials\(...\)"):
        context_for_server(channel_credentials(certificates.ca))


def test_what_stays_with_grpc(certificates: Certificates) -> None:
    """Credentials that are no plain TLS are refused with what they are and what to do."""
    tls = _grpc_credentials(certificates)
    token = grpc.access_token_call_credentials("token")
    insecure: Any = grpc.experimental.insecure_channel_credentials
    cases: list[tuple[Any, str]] = [
        (grpc.local_channel_credentials(), "LocalChannelCredentials are grpc.aio's"),
        (grpc.alts_channel_credentials(), "ALTSChannelCredentials are grpc.aio's"),
        (insecure(), "InsecureChannelCredentials are grpc.aio's"),
        (grpc.composite_channel_credentials(tls, token), "call credentials"),
        (token, "CallCredentials is not for channels"),
        (None, "NoneType is not for channels"),
        (grpc.local_server_credentials(), "ServerCredentials is not for channels"),
    ]
    for credentials, problem in cases:
        with pytest.raises(ConfigurationError, match=problem) as caught:
            context_for_channel(credentials)
        assert "leave this channel or port with grpc.aio" in str(caught.value)


class _OtherGrpc:
    """What a later grpcio might keep."""


_OtherGrpc.__name__ = "SSLChannelCredentials"


def test_other_version_of_grpc() -> None:
    """Where grpc's object no longer shows its certificates, the error names our own function."""
    with pytest.raises(ConfigurationError, match=r"use hasten.rpc.channel_credentials\(ca, certificate, key\)"):
        context_for_channel(grpc.ChannelCredentials(_OtherGrpc()))


def test_server_credentials_of_grpc(certificates: Certificates) -> None:
    """grpc's server credentials cannot be read, and the error names our own function."""
    identity = certificates.server
    credentials = grpc.ssl_server_credentials([(identity.key.read_bytes(), identity.certificate.read_bytes())])
    with pytest.raises(ConfigurationError, match=r"use hasten.rpc.server_credentials\(certificate, key\)"):
        context_for_server(credentials)


def test_no_tls() -> None:
    """Without TLS the context is grpc's for an insecure connection, and nobody is identified."""
    context = auth_context(None)
    assert context == {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}
    assert peer_identity_key(context) is None
    assert peer_identities(context) is None


_Peer = tuple[dict[str, list[bytes]], list[bytes] | None, str | None]


async def _as_grpc_sees_it(certificates: Certificates, identity: Identity | None) -> _Peer:
    """Return what the context of a grpc.aio server says of a client."""
    seen: list[Any] = []

    async def handle(_request: bytes, context: Any) -> bytes:
        seen.extend((context.auth_context(), context.peer_identities(), context.peer_identity_key()))
        return b""

    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Test", methods)])
    own = certificates.server
    pairs = [(own.key.read_bytes(), own.certificate.read_bytes())]
    ca = None if identity is None else certificates.ca.read_bytes()
    credentials = grpc.ssl_server_credentials(pairs, ca, require_client_auth=identity is not None)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", _grpc_credentials(certificates, identity)) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/Test/Call")
        await call(b"", timeout=10)
    await server.stop(None)
    return seen[0], seen[1], seen[2]


@pytest.mark.parametrize("name", ["client", "plain", "nameless", ""])
def test_auth_context_is_that_of_grpc(certificates: Certificates, name: str) -> None:
    """A TLS client is described in the same words as by grpc.aio, with and without a certificate."""
    identity: Identity | None = getattr(certificates, name) if name else None
    theirs, identities, key = asyncio.run(_as_grpc_sees_it(certificates, identity))
    server = _server(certificates, client_ca=certificates.ca)
    _, end = _shake_hands(context_for_channel(_grpc_credentials(certificates, identity)), server)
    ours = auth_context(end)
    assert theirs.pop("ssl_negotiated_key_exchange_group", None) is not None
    assert ours == theirs
    assert list(ours) == list(theirs)
    assert peer_identities(ours) == identities
    assert peer_identity_key(ours) == key


async def _first_bytes_of_grpc(certificates: Certificates) -> bytes:
    """Return what a grpc.aio channel sends first over TLS to our context."""
    first: list[bytes] = []
    started, ended = asyncio.Event(), asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first.append(await reader.readexactly(len(_PREFACE)))
        started.set()
        writer.write(_EMPTY_SETTINGS)
        await reader.read()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=_server(certificates))
    port = server.sockets[0].getsockname()[1]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", _grpc_credentials(certificates)) as channel:
        channel.get_state(try_to_connect=True)
        await started.wait()
        server.close()
    await ended.wait()
    await server.wait_closed()
    return first[0]


def test_grpc_channel_to_our_context(certificates: Certificates) -> None:
    """A channel of grpc.aio shakes hands with our server's context and starts HTTP/2."""
    assert asyncio.run(_first_bytes_of_grpc(certificates)) == _PREFACE


async def _first_frame_of_grpc(certificates: Certificates) -> bytes:
    """Return what a grpc.aio server that requires a certificate sends first over TLS from our context."""
    own = certificates.server
    server = grpc.aio.server()
    credentials = grpc.ssl_server_credentials(
        [(own.key.read_bytes(), own.certificate.read_bytes())], certificates.ca.read_bytes(), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    client = channel_credentials(certificates.ca, certificates.client.certificate, certificates.client.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    writer.write(_PREFACE + _EMPTY_SETTINGS)
    frame = await reader.readexactly(9)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    await server.stop(None)
    return frame


def test_our_context_to_grpc_server(certificates: Certificates) -> None:
    """Our channel's context shakes hands with a grpc.aio server that requires a certificate, which sends SETTINGS."""
    frame = asyncio.run(_first_frame_of_grpc(certificates))
    assert frame[3:9] == b"\4\0\0\0\0\0"

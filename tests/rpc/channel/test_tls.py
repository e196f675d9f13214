"""Channels over TLS: whose certificates count, whose do not, and what the failure says."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

import hasten.rpc
from tests.rpc.certificates import Certificates, Identity
from tests.rpc.channel._raw_server import RawConnection
from tests.rpc.channel._service import (
    KINDS,
    Context,
    Service,
    every_stack,
    failure_of,
    in_loops,
    make_channel,
    outcome_of,
    serve,
    unary,
)
from tests.rpc.interop._stacks import Stack

Make = Callable[[Certificates, Identity | None], Any]
NAME = (("grpc.ssl_target_name_override", "stock.example"),)


def read(path: Path | None) -> bytes | None:
    """Return a PEM file's contents."""
    return None if path is None else path.read_bytes()


def server_of(stack: Stack, certificates: Certificates, *, mutual: bool = False) -> Any:
    """Return a stack's server credentials."""
    ours = certificates.server
    if stack is Stack.HASTEN:
        ca = certificates.ca if mutual else None
        return hasten.rpc.server_credentials(
            ours.certificate, ours.key, client_ca=ca, require_client_certificate=mutual
        )
    pair = (ours.key.read_bytes(), ours.certificate.read_bytes())
    return grpc.ssl_server_credentials([pair], certificates.ca.read_bytes() if mutual else None, mutual)


def ours(certificates: Certificates, identity: Identity | None = None) -> ssl.SSLContext:
    """Return what our helper makes."""
    if identity is None:
        return hasten.rpc.channel_credentials(certificates.ca)
    return hasten.rpc.channel_credentials(certificates.ca, identity.certificate, identity.key)


def theirs(certificates: Certificates, identity: Identity | None = None) -> grpc.ChannelCredentials:
    """Return what grpc's function makes."""
    key, certificate = (None, None) if identity is None else (identity.key, identity.certificate)
    return grpc.ssl_channel_credentials(certificates.ca.read_bytes(), read(key), read(certificate))


def own_context(certificates: Certificates, identity: Identity | None = None) -> ssl.SSLContext:
    """Return a context made with the standard library alone."""
    context = ssl.create_default_context(cafile=certificates.ca)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


every_credentials = pytest.mark.parametrize("make", [ours, theirs, own_context])


@every_stack
@every_credentials
@in_loops
async def test_calls(stack: Stack, make: Make, certificates: Certificates) -> None:
    """A channel with the right authority calls any server, by its address and by its name; all kinds go through."""
    credentials = server_of(stack, certificates)
    async with serve(stack, service := Service(), credentials=credentials) as address:
        by_name = f"localhost:{address.rpartition(':')[2]}"
        for target, options in ((address, ()), (by_name, ()), (address, NAME)):
            channel = hasten.rpc.Channel(target, credentials=make(certificates, None), options=options)
            async with channel:
                for kind in KINDS.values():
                    assert await outcome_of(kind(channel, b"a" * 100_000)) == [b"a" * 100_000]
    assert len(service.calls) == 12


@every_stack
@every_credentials
@in_loops
async def test_mutual(stack: Stack, make: Make, certificates: Certificates) -> None:
    """A server that wants the client's certificate gets it, and its handlers see whose it is."""

    async def identify(_: bytes, context: Context) -> bytes:
        identities: Any = context.peer_identities()
        return b",".join(identities)

    credentials = server_of(stack, certificates, mutual=True)
    async with (
        serve(stack, Service(identify), credentials=credentials) as address,
        hasten.rpc.Channel(address, credentials=make(certificates, certificates.client)) as channel,
    ):
        assert b"client.example" in await unary(channel)


@every_stack
@in_loops
async def test_grpc_calls_our_server(stack: Stack, certificates: Certificates) -> None:
    """Either stack calls our TLS server."""
    async with (
        serve(Stack.HASTEN, Service(), credentials=server_of(Stack.HASTEN, certificates)) as address,
        make_channel(stack, address, credentials=theirs(certificates)) as channel,
    ):
        assert await unary(channel) == b"a"


async def reason_of(address: str, **settings: Any) -> str:
    """Return why a channel cannot connect."""
    async with hasten.rpc.Channel(address, **settings) as channel:
        error = await failure_of(unary(channel, timeout=10))
    assert error.code() is StatusCode.UNAVAILABLE
    details = error.details() or ""
    assert f"ipv4:{address}: " in details
    return details


@every_stack
@in_loops
async def test_the_wrong_authority(stack: Stack, certificates: Certificates) -> None:
    """A server whose certificate is not signed by the channel's authority is not called."""
    stranger = certificates.stranger.certificate
    async with serve(stack, service := Service(), credentials=server_of(stack, certificates)) as address:
        reason = await reason_of(address, credentials=hasten.rpc.channel_credentials(stranger))
    assert "certificate verify failed" in reason
    assert not service.calls


@every_stack
@in_loops
async def test_the_wrong_name(stack: Stack, certificates: Certificates) -> None:
    """A server whose certificate is for another name is not called."""
    options = (("grpc.ssl_target_name_override", "wrong.example"),)
    async with serve(stack, Service(), credentials=server_of(stack, certificates)) as address:
        reason = await reason_of(address, credentials=ours(certificates), options=options)
    assert "wrong.example" in reason


@every_stack
@pytest.mark.parametrize("who", ["nobody", "stranger"])
@in_loops
async def test_a_client_that_is_not_known(stack: Stack, who: str, certificates: Certificates) -> None:
    """A channel without the certificate that the server wants, or with a stranger's, is refused, and says so."""
    identity = certificates.stranger if who == "stranger" else None
    async with serve(stack, service := Service(), credentials=server_of(stack, certificates, mutual=True)) as address:
        reason = await reason_of(address, credentials=ours(certificates, identity))
    assert "client certificate" in reason
    assert not service.calls


@in_loops
async def test_the_server_has_no_tls(certificates: Certificates) -> None:
    """A server without TLS is no connection for a channel with it."""
    async with serve(Stack.HASTEN, Service()) as address:
        assert "last error" in await reason_of(address, credentials=ours(certificates))


@in_loops
async def test_the_channel_has_no_tls(certificates: Certificates) -> None:
    """A server with TLS is no connection for a channel without it."""
    credentials = server_of(Stack.HASTEN, certificates)
    async with serve(Stack.HASTEN, Service(), credentials=credentials) as address:
        assert "last error" in await reason_of(address)


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]], ids=["none", "http/1.1"])
@in_loops
async def test_the_server_does_not_agree_on_http2(protocols: list[str], certificates: Certificates) -> None:
    """A TLS server that has not chosen h2 by ALPN is not called, also when it would understand."""
    async with tls_server(certificates, protocols) as address:
        reason = await reason_of(address, credentials=ours(certificates))
    assert "does not speak HTTP/2 (ALPN)" in reason or "alert" in reason.lower()


@in_loops
async def test_the_server_agrees_on_http2(certificates: Certificates) -> None:
    """A TLS server of the standard library that chooses h2 is called; the scheme it sees is https."""
    async with (
        tls_server(certificates, ["h2"]) as address,
        hasten.rpc.Channel(address, credentials=ours(certificates)) as channel,
    ):
        call = unary(channel)
        assert await call == b"a"
        assert (await call.initial_metadata())["scheme"] == "https"


@contextlib.asynccontextmanager
async def tls_server(certificates: Certificates, protocols: list[str]) -> AsyncIterator[str]:
    """Yield the address of a server of the standard library that echoes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    if protocols:
        context.set_alpn_protocols(protocols)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RawConnection(reader, writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await connection.open({})
            request = await connection.request()
            head = {":status": "200", "content-type": "application/grpc", "scheme": request.headers[":scheme"]}
            connection.headers(request.stream_id, head)
            connection.data(request.stream_id, request.body)
            connection.headers(request.stream_id, {"grpc-status": "0"}, ends=True)
            await connection.closed()
        writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()

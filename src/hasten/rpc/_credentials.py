"""TLS for servers and channels: contexts made from PEM, and from grpc's own objects.

Everything ends in an `ssl.SSLContext` that offers ALPN `h2`. What ours allow is RFC 9113 section 9.2: TLS 1.3, or
1.2 with ephemeral elliptic curves and an AEAD cipher, no compression, no renegotiation.

PEM is a `Path` or a `str` that names a file, or the contents as `bytes`. Python's ssl reads certificates and keys from
files only, so contents are handed over as a file in memory (Linux) or as one that only this user can read, in a
temporary directory of its own that is removed at once.
"""

import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import grpc

from hasten._core.errors import ConfigurationError

if TYPE_CHECKING:
    from ssl import _SSLMethod

Pem = Path | str | bytes

_ALPN = ("h2",)
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # all others of TLS 1.2 are in RFC 9113 appendix A, or no AEAD
_PEMS = ("_pem_root_certificates", "_private_key", "_certificate_chain")
_IN_GRPC = "leave this channel or port with grpc.aio, or give an ssl.SSLContext"


def server_credentials(
    certificate: Pem, key: Pem, *, client_ca: Pem | None = None, require_client_certificate: bool = False
) -> ssl.SSLContext:
    """Return a server's TLS context; give it to `add_secure_port`.

    Args:
      certificate: The server's certificate, then those between it and the CA, as PEM.
      key: Its private key, as PEM, not encrypted.
      client_ca: CAs whose client certificates are accepted. With it clients are asked for one, and a wrong one is
        refused; without it they are not asked.
      require_client_certificate: Refuse clients without a certificate (mutual TLS).
    Raises:
      ConfigurationError: something is missing, cannot be read, or does not fit together.
    """
    if require_client_certificate and client_ca is None:
        raise ConfigurationError("server_credentials", "require_client_certificate needs client_ca")
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_identity(context, certificate, key)
    if client_ca is not None:
        _load_authorities(context, client_ca, "client_ca")
        context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_OPTIONAL
    return context


def channel_credentials(
    ca: Pem | None = None, certificate: Pem | None = None, key: Pem | None = None
) -> ssl.SSLContext:
    """Return a channel's TLS context; give it to `Channel` as `credentials`.

    Args:
      ca: CAs that may have signed the server's certificate. None takes the system's (and SSL_CERT_FILE); grpc.aio
        takes a list of its own instead.
      certificate, key: The client's own, for mutual TLS; both or none.
    Raises:
      ConfigurationError: one is missing, cannot be read, or does not fit the other.
    """
    if (certificate is None) != (key is None):
        raise ConfigurationError("channel_credentials", "certificate and key go together")
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authorities(context, ca, "ca")
    if certificate is not None and key is not None:
        _load_identity(context, certificate, key)
    return context


def context_for_channel(credentials: grpc.ChannelCredentials | ssl.SSLContext) -> ssl.SSLContext:
    """Return the TLS context for what a channel was given.

    An SSLContext is used as it is, but that ALPN is set to `h2`: whether it was set before cannot be read, and no
    gRPC server talks anything else. Of grpc's objects, those of `grpc.ssl_channel_credentials` are read.

    Raises:
      ConfigurationError: it is of a kind that only grpc.aio can use, or for servers.
    """
    if isinstance(credentials, ssl.SSLContext):
        return _with_alpn(credentials, ssl.PROTOCOL_TLS_SERVER, "channel_credentials")
    if not isinstance(credentials, grpc.ChannelCredentials):
        raise ConfigurationError("credentials", f"{type(credentials).__name__} is not for channels", _IN_GRPC)
    ca, key, certificate = _pems_of(credentials)
    return channel_credentials(ca, certificate, key)


def context_for_server(credentials: grpc.ServerCredentials | ssl.SSLContext) -> ssl.SSLContext:
    """Return the TLS context for what `add_secure_port` was given; ALPN as in `context_for_channel`.

    Raises:
      ConfigurationError: it is grpc's own object, whose certificates cannot be read back, or for channels.
    """
    if isinstance(credentials, ssl.SSLContext):
        return _with_alpn(credentials, ssl.PROTOCOL_TLS_CLIENT, "server_credentials")
    name, remedy = type(credentials).__name__, "use hasten.rpc.server_credentials(certificate, key)"
    if not isinstance(credentials, grpc.ServerCredentials):
        raise ConfigurationError("credentials", f"{name} is not for servers", remedy)
    raise ConfigurationError("credentials", f"the certificates of a grpc {name} cannot be read", remedy)


def _context(side: "_SSLMethod") -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as grpc-core: a trusted CA need not be a root
    context.set_alpn_protocols(_ALPN)
    return context


def _with_alpn(context: ssl.SSLContext, wrong_side: int, remedy: str) -> ssl.SSLContext:
    if context.protocol == wrong_side:
        raise ConfigurationError(
            "credentials", "this SSLContext is for the other side", f"use hasten.rpc.{remedy}(...)"
        )
    context.set_alpn_protocols(_ALPN)
    return context


def _load_identity(context: ssl.SSLContext, certificate: Pem, key: Pem) -> None:
    def no_password() -> str:
        raise ConfigurationError("key", "the private key is encrypted", "decrypt it first")

    with ExitStack() as files:
        certificate_file = files.enter_context(_file(certificate))
        key_file = files.enter_context(_file(key))
        with _translated(f"certificate {_shown(certificate)} with key {_shown(key)}"):
            # Without a password function OpenSSL would ask on the terminal, and hang a service.
            context.load_cert_chain(certificate_file, key_file, password=no_password)


def _load_authorities(context: ssl.SSLContext, ca: Pem, where: str) -> None:
    with _translated(f"{where} {_shown(ca)}"):
        if isinstance(ca, bytes):
            context.load_verify_locations(cadata=ca.decode("ascii", "ignore"))  # comments may have more
        else:
            context.load_verify_locations(cafile=ca)


def _shown(pem: Pem) -> str:
    if isinstance(pem, bytes):
        return "given as bytes"
    if "-----BEGIN" in str(pem):
        raise ConfigurationError("credentials", "a str names a file", "give the contents as bytes")
    return str(pem)


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigurationError(where, f"cannot be read as PEM: {reason}") from error


@contextmanager
def _file(pem: Pem) -> Iterator[str | Path]:
    """Yield a file with `pem`, for as long as the block runs."""
    if not isinstance(pem, bytes):
        yield pem
        return
    with ExitStack() as cleanup:
        path = _memory_file(pem, cleanup)
        if path is None:
            path = Path(cleanup.enter_context(TemporaryDirectory()), "pem")  # the directory is mode 0700
            path.touch(mode=0o600)
            path.write_bytes(pem)
        yield path


def _memory_file(contents: bytes, cleanup: ExitStack) -> Path | None:
    """Return a file that is on no file system; None where there are no such files."""
    if sys.platform == "linux":
        with suppress(OSError):  # refused by some sandboxes
            descriptor = os.memfd_create("pem")
            cleanup.callback(os.close, descriptor)
            os.set_blocking(descriptor, False)  # it never does; this tells the watch over blocking calls
            os.write(descriptor, contents)
            path = Path(f"/proc/self/fd/{descriptor}")
            os.close(os.open(path, os.O_RDONLY))  # fails where /proc is not mounted
            return path
    return None


def _pems_of(credentials: grpc.ChannelCredentials) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return CAs, key and certificate of grpc's object; they are private there, hence the guards."""
    inner = getattr(credentials, "_credentials", None)
    name = type(inner).__name__
    if name == "CompositeChannelCredentials":
        raise ConfigurationError("credentials", "call credentials (tokens) are grpc.aio's", _IN_GRPC)
    if name != "SSLChannelCredentials":
        raise ConfigurationError("credentials", f"{name} are grpc.aio's", _IN_GRPC)
    try:
        ca, key, certificate = [getattr(inner, attribute) for attribute in _PEMS]
    except AttributeError:
        problem = "this version of grpcio does not show the certificates of ssl_channel_credentials"
        remedy = "use hasten.rpc.channel_credentials(ca, certificate, key)"
        raise ConfigurationError("credentials", problem, remedy) from None
    if getattr(inner, "_private_key_signer", None) is not None:
        raise ConfigurationError("credentials", "a custom private key signer is grpc.aio's", _IN_GRPC)
    return ca, key, certificate

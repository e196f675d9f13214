"""Metadata between users and header fields, and the percent coding of grpc-message (gRPC over HTTP/2).

What grpc.aio takes is taken here, and its mistakes are answered with errors that `except` clauses for grpc.aio catch:
TypeError for a wrong type, `grpc.aio.InternalError` for characters that have no place in a header.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import grpc.aio

TRANSPORT_FIELDS = frozenset(
    (
        *("te", "content-type", "content-length", "user-agent"),
        *("grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-internal-encoding-request"),
        *("grpc-status", "grpc-message", "grpc-previous-rpc-attempts"),
        *("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"),
    )
)
"""Names that the transport fills, or that HTTP/2 forbids (RFC 9113 section 8.2.2, which grpc.aio sends on and other
peers refuse). Other `grpc-` names pass, as in grpc.aio: grpc-status-details-bin and grpc-trace-bin are users'."""

_KEY = re.compile(r"[0-9a-z_.\-]+")
_ESCAPED = re.compile(rb"[^ -$&-~]")


class InvalidMetadata(grpc.aio.InternalError, ValueError):
    """Raised when a key or a value of metadata cannot be sent; the caller's to mend.

    grpc.aio raises its InternalError, sync gRPC a ValueError: both names catch it.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"metadata {key!r}: {problem}")
        self.key = key


def encode_pair(key: str, value: str | bytes | None) -> tuple[bytes, bytes]:
    """Return the header field for one pair of metadata; about 1 µs.

    Args:
      key: Of `[0-9a-z_.-]`, not one of `TRANSPORT_FIELDS`.
      value: bytes under a key that ends with `-bin` (sent as base64 without padding, as the protocol asks); else
        printable ASCII, as str or bytes. None is empty, as in grpc.aio.
    Raises:
      InvalidMetadata: the key or the value has other characters, or the key is the transport's.
      TypeError: the value has another type.
    """
    if type(key) is not str:
        key = _text(key)
    if _KEY.fullmatch(key) is None or key in TRANSPORT_FIELDS:
        raise InvalidMetadata(key, _key_problem(key))
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise TypeError(f'Binary metadata key="{key}" expected bytes, got {type(value)}')
        return key.encode(), b2a_base64(value, newline=False).rstrip(b"=")
    if type(value) is not str:
        value = _text(value)
    if not (value.isascii() and value.isprintable()):
        raise InvalidMetadata(key, f"value {value[:100]!r} is not printable ASCII; use a key that ends with -bin")
    return key.encode(), value.encode()


def encode_metadata(metadata: Iterable[tuple[str, str | bytes | None]]) -> list[tuple[bytes, bytes]]:
    """Return the header fields for a user's metadata, without `TRANSPORT_FIELDS`.

    grpc.aio leaves them out without a word, and services rely on it: they send the metadata they received on.

    Raises:
      InvalidMetadata, TypeError: as `encode_pair`.
    """
    return [encode_pair(key, value) for key, value in metadata if key not in TRANSPORT_FIELDS]


def metadata_pairs(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    """Return trailing metadata as a tuple of pairs.

    Raises:
      TypeError: it is something else, a dict for example; in grpc.aio's words.
    """
    pairs = tuple(metadata) if isinstance(metadata, Iterable) and not isinstance(metadata, dict) else (None,)
    if not all(_is_pair(pair) for pair in pairs):
        expected = "Tuple[Tuple[str, Union[str, bytes]]...]"
        raise TypeError(f"Invalid trailing metadata type, expected {expected}: {metadata}")
    return pairs


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str | bytes)


def decode_value(key: bytes, value: bytes) -> str | bytes:
    """Return the value of one header field: bytes under a key that ends with `-bin`, else text.

    Text is UTF-8 where it can be and latin-1 where not, as in grpc.aio; it is not checked further, because the
    protocol forbids failing a call for it.

    Raises:
      ValueError: a `-bin` value is not base64. The message is grpc-core's, for the call's status INTERNAL. Several
        values joined by commas are several pairs: see `decode_metadata`.
    """
    if key.endswith(b"-bin"):
        return _from_base64(key, value)
    return _from_text(value)


class Metadatum(NamedTuple):
    """One pair of metadata, as grpc.aio's servers give it."""

    key: str
    value: str | bytes


def decode_metadata(fields: Iterable[tuple[bytes, bytes]]) -> tuple[Metadatum, ...]:
    """Return header fields as pairs of metadata, in order; `-bin` values joined by commas become pairs of their own.

    Raises:
      ValueError: as `decode_value`.
    """
    pairs: list[Metadatum] = []
    for key, value in fields:
        name = key.decode("latin-1")
        if b"," in value and key.endswith(b"-bin"):
            pairs.extend(Metadatum(name, _from_base64(key, part.strip(b" "))) for part in value.split(b","))
        else:
            pairs.append(Metadatum(name, decode_value(key, value)))
    return tuple(pairs)


def is_base64(value: bytes) -> bool:
    """Whether the value of a `-bin` field, or each of those that commas join, can be decoded."""
    try:
        decode_metadata(((b"-bin", value),))
    except ValueError:
        return False
    return True


def percent_encode(message: str) -> bytes:
    """Return grpc-message for a status' details: UTF-8, everything but printable ASCII and `%` itself escaped.

    Lone surrogates, which UTF-8 has no bytes for, become `?`.
    """
    if message.isascii() and message.isprintable() and "%" not in message:
        return message.encode()
    return _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], message.encode("utf-8", "replace"))


def percent_decode(value: bytes) -> str:
    """Return the details that grpc-message says; never raises, as the protocol demands.

    A `%` without two hexadecimal digits stays as it is; bytes that are no UTF-8 are read as latin-1, as in grpc.aio.
    """
    return _from_text(unquote_to_bytes(value) if b"%" in value else value)


def _text(value: object) -> str:
    """Return what grpc.aio makes of a key or a value that is no str."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"Expected str, not {type(value)}")


def _key_problem(key: str) -> str:
    if key in TRANSPORT_FIELDS:
        return "the transport sets it, or HTTP/2 forbids it"
    return "keys have one or more of 0-9 a-z _ . - and are lower case"


def _from_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _from_base64(key: bytes, value: bytes) -> bytes:
    try:
        return a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except ValueError:
        name = key.decode("latin-1")
        raise ValueError(f"Error parsing '{name}' metadata: illegal base64 encoding") from None

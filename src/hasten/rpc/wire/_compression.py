"""Compression of single messages (gRPC over HTTP/2, Message-Encoding), with a bound on what comes out.

Every message is compressed on its own. Names and outcomes are grpc-core's, unknown encodings are the protocol's.
"""

import zlib

import grpc

IDENTITY = "identity"
DEFLATE = "deflate"
GZIP = "gzip"

ACCEPT_ENCODING = b"identity, deflate, gzip"
"""grpc-accept-encoding, as grpcio sends it."""
ENCODINGS = frozenset(ACCEPT_ENCODING.decode().split(", "))
"""Encodings of messages that we can read."""

_WINDOW_BITS = {DEFLATE: zlib.MAX_WBITS, GZIP: 16 + zlib.MAX_WBITS}
"""`deflate` is zlib's format (RFC 1950), as in HTTP; 16 more is gzip's (RFC 1952)."""
ENCODING_BY_COMPRESSION: dict[grpc.Compression, str] = {
    grpc.Compression.NoCompression: IDENTITY,
    grpc.Compression.Deflate: DEFLATE,
    grpc.Compression.Gzip: GZIP,
}


class MessageError(Exception):
    """Raised when a message that was received cannot be given to the application; the call ends with `code`."""

    code = grpc.StatusCode.INTERNAL


class MessageTooLarge(MessageError):
    """Raised when a message has more bytes than allowed; the peer's fault, or `Limits.message_bytes` is too low.

    Args:
      size_bytes: What it has, or the least it has where the rest was not decompressed.
      limit_bytes: What was allowed.
      sent: It was to be sent, and `Limits.sent_message_bytes` is the bound.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, size_bytes: int, limit_bytes: int, *, sent: bool = False) -> None:
        verb = "Sent" if sent else "Received"
        super().__init__(f"{verb} message larger than max ({size_bytes} vs. {limit_bytes})")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class MalformedMessage(MessageError):
    """Raised when a message is not what its encoding says; the peer's fault."""


class UnknownEncoding(MessageError):
    """Raised when grpc-encoding names none of `ACCEPT_ENCODING`; a server answers UNIMPLEMENTED with that list.

    A client that gets it ends the call with INTERNAL instead (gRPC's compression.md).
    """

    code = grpc.StatusCode.UNIMPLEMENTED

    def __init__(self, encoding: str) -> None:
        super().__init__(f"Compression encoding {encoding[:40]!r} is not supported")
        self.encoding = encoding


def compress(encoding: str, data: bytes) -> bytes:
    """Return `data` compressed; may be longer than it: send the original, flag 0, when nothing was gained.

    Raises:
      UnknownEncoding: the encoding is not ours.
    """
    if encoding == IDENTITY:
        return data
    return zlib.compress(data, wbits=_window_bits(encoding))


def compress_if_smaller(encoding: str, data: bytes) -> tuple[bytes, bool]:
    """Return `data` as it is best sent, and whether it is compressed: not when nothing is gained, as in grpc-core."""
    compressed = compress(encoding, data)
    return (compressed, True) if len(compressed) < len(data) else (data, False)


def decompress(encoding: str, data: bytes, limit: int) -> bytes:
    """Return what a message with compressed-flag 1 holds.

    Decompresses `limit` + 1 bytes at most, whatever would come out, so a bomb costs what the largest allowed message
    does. One member only: more of them, and anything else behind, is malformed. Nothing at all is an empty message.

    Args:
      encoding: The value of grpc-encoding. The flag without it, or with `identity`, is malformed.
      limit: Most bytes that may come out, 0 or more.
    Raises:
      MessageTooLarge: more than `limit` bytes would come out.
      MalformedMessage: it is damaged, cut off, or has something behind it.
      UnknownEncoding: the encoding is not ours.
    """
    if encoding == IDENTITY:
        raise MalformedMessage("Compression bit set but no encoding configured")
    stream = zlib.decompressobj(_window_bits(encoding))
    if not data:
        return b""
    try:
        message = stream.decompress(data, limit + 1)
    except zlib.error:
        raise MalformedMessage("Decompression failed due to zlib error") from None
    if len(message) > limit:
        raise MessageTooLarge(len(message), limit)
    if not stream.eof:
        raise MalformedMessage("Decompression failed due to data error")
    if stream.unused_data:
        raise MalformedMessage("Decompression failed due to not all input consumed")
    return message


def encoding_of(compression: grpc.Compression | None) -> str:
    """Return the encoding's name for what users give as `compression`; None is `identity`."""
    return IDENTITY if compression is None else ENCODING_BY_COMPRESSION[compression]


def accepted_encodings(value: str) -> frozenset[str]:
    """Return the encodings that a grpc-accept-encoding field lists; `identity` always is one."""
    return frozenset((IDENTITY, *(name.strip() for name in value.split(",") if name.strip())))


def _window_bits(encoding: str) -> int:
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise UnknownEncoding(encoding)
    return bits

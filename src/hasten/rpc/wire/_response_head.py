"""What a client makes of a response's header blocks (gRPC over HTTP/2, Response-Headers and Trailers)."""

from hasten.rpc.wire._compression import ENCODINGS
from hasten.rpc.wire._hpack import FIELD_OVERHEAD, Fields

FIXED = frozenset((b":status", b"content-type", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-status", b"server"))
"""Fields that are the same in all answers of a server, as a rule."""
_NOT_METADATA = FIXED | {b"accept-encoding", b"content-length", b"trailer"}


class ResponseHead:
    """Headers or trailers of a response; immutable once made, because many calls share it.

    Attributes:
      http_status: 0 in trailers.
      grpc_status: -1 without; a value that is no number is 2 (UNKNOWN).
      grpc_message: Percent-encoded, as it came.
      content_type: Empty without.
      encoding: Of the messages.
      fields: User metadata as it came, in order.
      size: Of the list (RFC 9113 section 6.5.2), in bytes.
      malformed: Why it is malformed; empty when it is not.
      is_ready: A response's headers that messages may follow.
    """

    __slots__ = (
        *("content_type", "encoding", "fields", "grpc_message", "grpc_status", "http_status"),
        *("is_ready", "malformed", "size"),
    )

    def __init__(self) -> None:
        self.http_status = 0
        self.grpc_status = -1
        self.grpc_message = b""
        self.content_type = ""
        self.encoding = "identity"
        self.fields: Fields = []
        self.size = 0
        self.malformed = ""
        self.is_ready = False

    def copy(self) -> "ResponseHead":
        other = ResponseHead.__new__(ResponseHead)
        other.http_status = self.http_status
        other.grpc_status = self.grpc_status
        other.grpc_message = self.grpc_message
        other.content_type = self.content_type
        other.encoding = self.encoding
        other.fields = self.fields.copy()
        other.size = self.size
        other.malformed = self.malformed
        other.is_ready = False
        return other


def extend(head: ResponseHead, fields: Fields) -> ResponseHead:
    """Return the head of a block that starts as `head` does and goes on with `fields`."""
    head = head.copy()
    for name, value in fields:
        head.size += len(name) + len(value) + FIELD_OVERHEAD
        if name == b"grpc-status":
            head.grpc_status = int(value) if value.isdigit() else 2
        elif name == b"grpc-message":
            head.grpc_message = value
        elif name == b":status":
            head.http_status = int(value) if value.isdigit() and len(value) == 3 else 0
        elif name == b"content-type":
            head.content_type = value.decode("latin-1")
        elif name == b"grpc-encoding":
            head.encoding = value.decode("latin-1")
        elif name[:1] == b":" or not name or name != name.lower():
            head.malformed = f"field name {name!r}"
        elif name not in _NOT_METADATA:
            head.fields.append((name, value))
    head.is_ready = (
        head.http_status == 200
        and not head.malformed
        and head.content_type.startswith("application/grpc")
        and head.encoding in ENCODINGS
    )
    return head

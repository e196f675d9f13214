"""What a client makes of a response's header blocks (gRPC over HTTP/2, Response-Headers and Trailers)."""

from hasten.rpc._limits import Limits
from hasten.rpc.wire._compression import ENCODINGS
from hasten.rpc.wire._hpack import FIELD_OVERHEAD, Fields, are_values, is_name
from hasten.rpc.wire._metadata import is_base64, percent_encode

FIXED = frozenset((b":status", b"content-type", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-status", b"server"))
"""Fields that are the same in all answers of a server, as a rule."""
_RESOURCE_EXHAUSTED = 8
_INTERNAL = 13
_MOST_DIGITS = 10
_NOT_METADATA = FIXED | {b"accept-encoding", b"content-length", b"trailer"}


class ResponseHead:
    """Headers or trailers of a response; immutable once made, because many calls share it.

    Attributes:
      http_status: 0 in trailers.
      grpc_status: -1 without; 13 (INTERNAL), with a message that says why, when the list is malformed; 8
        (RESOURCE_EXHAUSTED) when it is too large.
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
            head.grpc_status = int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else -1
            if head.grpc_status < 0:
                head.malformed = "Error parsing 'grpc-status' metadata"
        elif name == b"grpc-message":
            head.grpc_message = value
        elif name == b":status":
            head.http_status = int(value) if value.isdigit() and len(value) == 3 else 0
        elif name == b"content-type":
            head.content_type = value.decode("latin-1")
        elif name == b"grpc-encoding":
            head.encoding = value.decode("latin-1")
        elif not is_name(name):
            head.malformed = f"field name {name!r}"
        elif name not in _NOT_METADATA:
            if name.endswith(b"-bin") and not is_base64(value):
                head.malformed = f"Error parsing {name.decode('latin-1')!r} metadata: illegal base64 encoding"
            else:
                head.fields.append((name, value))
    if not are_values(fields):
        head.malformed = "field value with a NUL or a line break"
    if head.malformed:
        head.grpc_status, head.grpc_message = _INTERNAL, percent_encode(head.malformed)
    head.is_ready = (
        head.http_status == 200
        and not head.malformed
        and head.content_type.startswith("application/grpc")
        and head.encoding in ENCODINGS
    )
    return head


class ResponseHeads:
    """Makes response heads for one connection.

    Args:
      limits: For `header_list_bytes`.
    """

    def __init__(self, limits: Limits) -> None:
        self._most_bytes = limits.header_list_bytes

    def extend(self, head: ResponseHead, fields: Fields) -> ResponseHead:
        """Return what `extend` does, of which nothing is kept but a status when the list is too large."""
        head = extend(head, fields)
        if head.size > self._most_bytes:
            head.is_ready = False
            head.fields = []
            head.grpc_status = _RESOURCE_EXHAUSTED
            head.grpc_message = b"received metadata size exceeds soft limit"
        return head

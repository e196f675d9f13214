"""Status codes on the wire: grpc-status, HTTP status and HTTP/2 error codes, one into the other.

Sources: gRPC over HTTP/2 (Errors), gRPC's "HTTP to gRPC Status Code Mapping", grpc-core's status_conversion.cc; what
they leave open is as grpcio 1.85 was seen to do.
"""

from typing import Any

import grpc

NO_ERROR = 0x0
INTERNAL_ERROR = 0x2
REFUSED_STREAM = 0x7
CANCEL = 0x8
ENHANCE_YOUR_CALM = 0xB
INADEQUATE_SECURITY = 0xC


class _StatusCodes(dict[int, grpc.StatusCode]):
    def __missing__(self, code: int) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN


def _number(code: grpc.StatusCode) -> int:
    value: Any = code.value  # (number, name)
    return int(value[0])


STATUS_BY_CODE: dict[int, grpc.StatusCode] = _StatusCodes((_number(code), code) for code in grpc.StatusCode)
"""A number that gRPC does not know is UNKNOWN: with `[]`, not with `get`."""
CODE_BY_STATUS: dict[grpc.StatusCode, int] = {status: code for code, status in STATUS_BY_CODE.items()}

_STATUS_BY_HTTP = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
_STATUS_BY_RESET = {
    REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    CANCEL: grpc.StatusCode.CANCELLED,
    ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}
_RESET_BY_STATUS = {
    grpc.StatusCode.OK: NO_ERROR,
    grpc.StatusCode.CANCELLED: CANCEL,
    grpc.StatusCode.DEADLINE_EXCEEDED: CANCEL,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ENHANCE_YOUR_CALM,
    grpc.StatusCode.PERMISSION_DENIED: INADEQUATE_SECURITY,
}


def parse_status(value: bytes) -> grpc.StatusCode:
    """Return the status that grpc-status says; INTERNAL when it is no number, as grpcio does."""
    if not value.isdigit() or len(value) > 10:
        return grpc.StatusCode.INTERNAL
    return STATUS_BY_CODE[int(value)]


def http_status_to_code(status: int) -> grpc.StatusCode:
    """Return the status of a response without grpc-status: some proxy's, or no gRPC server at all.

    It is never OK: a 200 without grpc-status is UNKNOWN, as is all the mapping does not name.
    """
    return _STATUS_BY_HTTP.get(status, grpc.StatusCode.UNKNOWN)


def reset_to_code(http2_error_code: int, *, expired: bool = False) -> grpc.StatusCode:
    """Return the status of a call whose stream the peer reset.

    Args:
      http2_error_code: RFC 9113 section 7. NO_ERROR is INTERNAL as well: a status should have come.
      expired: The call's deadline has passed; a CANCEL then is DEADLINE_EXCEEDED, because the server's clock may have
        been the faster one (gRPC over HTTP/2, Client Cancellation).
    """
    if expired and http2_error_code == CANCEL:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return _STATUS_BY_RESET.get(http2_error_code, grpc.StatusCode.INTERNAL)


def status_to_reset(code: grpc.StatusCode) -> int:
    """Return the HTTP/2 error code for a stream that is given up with `code`, as grpc-core does.

    But for UNAVAILABLE: REFUSED_STREAM promises that nothing was processed (RFC 9113 section 8.7), and clients send
    such a call again. Whoever knows that it holds sends it himself; here it is INTERNAL_ERROR, like all the rest.
    """
    return _RESET_BY_STATUS.get(code, INTERNAL_ERROR)

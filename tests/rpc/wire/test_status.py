"""Status codes, HTTP status and HTTP/2 error codes."""

import grpc
import pytest

from hasten.rpc.wire._status import (
    CODE_BY_STATUS,
    STATUS_BY_CODE,
    http_status_to_code,
    parse_status,
    reset_to_code,
    status_to_reset,
)

_PROTOCOL_ERROR, _REFUSED_STREAM, _CANCEL, _ENHANCE_YOUR_CALM, _INADEQUATE_SECURITY = 1, 7, 8, 11, 12


def test_every_code() -> None:
    """Every status has its number, 0 to 16, and back."""
    assert [STATUS_BY_CODE[code] for code in range(17)] == list(grpc.StatusCode)
    assert [CODE_BY_STATUS[status] for status in grpc.StatusCode] == list(range(17))


@pytest.mark.parametrize("code", [17, 99, -1])
def test_unknown_number(code: int) -> None:
    """A number that gRPC does not know is UNKNOWN, and looking it up leaves nothing behind."""
    assert STATUS_BY_CODE[code] is grpc.StatusCode.UNKNOWN
    assert len(STATUS_BY_CODE) == 17


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"0", grpc.StatusCode.OK),
        (b"5", grpc.StatusCode.NOT_FOUND),
        (b"05", grpc.StatusCode.NOT_FOUND),
        (b"17", grpc.StatusCode.UNKNOWN),
        (b"-1", grpc.StatusCode.INTERNAL),
        (b"x", grpc.StatusCode.INTERNAL),
        (b"", grpc.StatusCode.INTERNAL),
        (b"9" * 5000, grpc.StatusCode.INTERNAL),
    ],
)
def test_parse_status(value: bytes, status: grpc.StatusCode) -> None:
    """A grpc-status field is its status, UNKNOWN for a number nobody knows, INTERNAL for no number."""
    assert parse_status(value) is status


@pytest.mark.parametrize(
    ("http_status", "name"),
    [
        (400, "INTERNAL"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "UNIMPLEMENTED"),
        (429, "UNAVAILABLE"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "UNAVAILABLE"),
        (200, "UNKNOWN"),
        (204, "UNKNOWN"),
        (301, "UNKNOWN"),
        (408, "UNKNOWN"),
        (500, "UNKNOWN"),
        (0, "UNKNOWN"),
    ],
)
def test_http_status(http_status: int, name: str) -> None:
    """An answer without grpc-status is what gRPC's mapping says of its HTTP status, never OK."""
    assert http_status_to_code(http_status).name == name


@pytest.mark.parametrize("error_code", range(16))
def test_reset(error_code: int) -> None:
    """A reset stream is what grpcio makes of its error code: INTERNAL but for four of them."""
    special = {
        _REFUSED_STREAM: "UNAVAILABLE",
        _CANCEL: "CANCELLED",
        _ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED",
        _INADEQUATE_SECURITY: "PERMISSION_DENIED",
    }
    assert reset_to_code(error_code).name == special.get(error_code, "INTERNAL")


def test_reset_after_the_deadline() -> None:
    """A cancellation by the peer after the deadline is the deadline's; other resets keep their status."""
    assert reset_to_code(_CANCEL, expired=True) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reset_to_code(_PROTOCOL_ERROR, expired=True) is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_status_to_reset(status: grpc.StatusCode) -> None:
    """A stream is given up with grpc-core's error code, but never with one that invites sending the call again."""
    expected = {"OK": 0, "CANCELLED": 8, "DEADLINE_EXCEEDED": 8, "RESOURCE_EXHAUSTED": 11, "PERMISSION_DENIED": 12}
    assert status_to_reset(status) == expected.get(status.name, 2)

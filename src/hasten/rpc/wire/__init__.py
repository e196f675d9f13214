"""The pure part of the transport: bytes in, values out, no I/O and no loop."""

from hasten.rpc.wire._frames import ConnectionViolation, ErrorCode

__all__ = ("ConnectionViolation", "ErrorCode")

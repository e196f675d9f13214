"""What a supervisor and a worker say to each other: lines of JSON on a socket pair, the first one the configuration.

    supervisor ── Orders ──> worker          Drain
    supervisor <── Reports ── worker          Ready, Failed, Worn

The end of the stream says that the other one is gone, however it went.
"""

import socket
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from hasten.service import ServiceOptions


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do, from its start.

    Attributes:
      target: `module:app`.
      listeners: Numbers of the inherited sockets to accept from.
      max_requests: After so many it asks to be replaced; None for never.
    """

    target: str
    options: ServiceOptions
    listeners: tuple[int, ...]
    max_requests: int | None = None


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Leave.

    Attributes:
      hand_over: Another worker accepts from the same sockets by now.
      lame_duck: Seconds, where it is not the usual time.
    """

    hand_over: bool = False
    lame_duck: float | None = None


class Ready(msgspec.Struct, frozen=True, tag=True):
    """It accepts connections.

    Attributes:
      admin: URL of its admin port; empty without one.
    """

    admin: str = ""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It cannot serve, and ends; the message is one line for the user."""

    message: str
    exit_code: int


class Worn(msgspec.Struct, frozen=True, tag=True):
    """It has answered as many requests as it may."""

    reason: str


Report: TypeAlias = Ready | Failed | Worn


def _encoded(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value).__name__)


def _decoded(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return kind(value)
    raise NotImplementedError(kind.__name__)


_ENCODER = msgspec.json.Encoder(enc_hook=_encoded)
ORDERS = msgspec.json.Decoder(Orders, dec_hook=_decoded)
DRAIN = msgspec.json.Decoder(Drain)
REPORT = msgspec.json.Decoder(Report)


def line_of(message: Orders | Drain | Report) -> bytes:
    """Return a message as it is sent."""
    return _ENCODER.encode(message) + b"\n"


class Lines:
    """Parts what comes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return whole


def received(channel: socket.socket) -> bytes | None:
    """Return what has come on a socket that does not wait: empty for nothing yet, None when the other one is gone."""
    try:
        return channel.recv(65536) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None

"""What a stack has to offer to take part: a server and a client for the service of `echo.proto`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from benchmarks.rpc.echo_pb2 import Order

Say = Callable[[Order], Awaitable[Order]]


class Transport(StrEnum):
    """What carries the bytes; stacks but ours and grpc.aio are measured over TCP only."""

    TCP = "tcp"
    TLS = "tls"
    UNIX = "unix"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run's servers listen.

    Attributes:
      folder: For unix sockets; it holds the certificate and the key for TLS.
    """

    transport: Transport
    folder: Path


@dataclass(frozen=True, slots=True)
class Caller:
    """A connected client.

    Attributes:
      say: Calls without deadline or metadata.
      say_in_time: Calls with a deadline `_orders.TIMEOUT` away and a fresh traceparent.
    """

    say: Say
    say_in_time: Say


class Stack(Protocol):
    """One way to make a call."""

    def serve(self, place: Place) -> None:
        """Serve until the process is ended, after `_child.announce(address)`."""
        ...

    def calling(self, address: str, place: Place, in_flight: int) -> AbstractAsyncContextManager[Caller]:
        """Connect, and yield a caller for `in_flight` calls at once."""
        ...


def find_stack(name: str) -> Stack:
    """Load one stack."""
    match name:
        case "raw":
            from benchmarks.rpc.stacks.raw import RawStack

            return RawStack()
        case "hasten":
            from benchmarks.rpc.stacks import hasten
            from benchmarks.rpc.stacks._grpc import GrpcStack

            return GrpcStack(hasten.PARTS)
        case "grpc.aio":
            from benchmarks.rpc.stacks import grpc_aio
            from benchmarks.rpc.stacks._grpc import GrpcStack

            return GrpcStack(grpc_aio.PARTS)
        case "grpclib":
            from benchmarks.rpc.stacks.grpclib import GrpclibStack

            return GrpclibStack()
        case "fastapi-aiohttp":
            from benchmarks.rpc.stacks.fastapi_aiohttp import FastapiAiohttpStack

            return FastapiAiohttpStack()
        case "fastapi-httpx":
            from benchmarks.rpc.stacks.fastapi_httpx import FastapiHttpxStack

            return FastapiHttpxStack()
    raise ValueError(name)

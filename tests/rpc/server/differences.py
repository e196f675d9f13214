"""Where the server differs from grpc.aio's on purpose: all of it, each with its reason.

The tests of this folder expect the same of both stacks, but for what stands here; the migration page lists it for
users.
"""

import sys
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import StatusCode

from tests.rpc.server.serving import Ending, MakeServer

NEVER = Ending(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
"""The server sends no status: the client waits until its deadline."""
NO, YES = False, True
UNEXPECTED_TYPE = "Unexpected <class 'TypeError'>: "
INVALID = "Unexpected <class 'hasten.rpc.wire._metadata.InvalidMetadata'>: metadata 'Upper': keys have one or more of "


@dataclass(frozen=True, slots=True)
class Difference:
    """What the two stacks do, in the terms of the test that shows it, and why."""

    grpc_aio: Any
    hasten: Any
    reason: str


DIFFERENCES = {
    "abort with OK": Difference(
        NEVER,
        Ending(StatusCode.UNKNOWN, "abort() called with StatusCode.OK"),
        "a handler's mistake must not leave its client waiting",
    ),
    "an AbortError of the handler's own": Difference(
        Ending(StatusCode.UNKNOWN, "Unexpected <class 'AssertionError'>: Abort error has been replaced!"),
        Ending(StatusCode.UNKNOWN, "Unexpected <class 'grpc._cython.cygrpc.AbortError'>: mine"),
        "the error that was raised says more",
    ),
    "trailing metadata of abort": Difference(
        Ending(
            StatusCode.UNKNOWN,
            UNEXPECTED_TYPE + "Argument 'trailing_metadata' has incorrect type (expected tuple, got list)",
        ),
        Ending(StatusCode.NOT_FOUND, "no", trailing=(("key", "value"),)),
        "set_trailing_metadata takes any sequence, so abort does, too",
    ),
    "a handler that raises CancelledError": Difference(
        NEVER,
        Ending(StatusCode.CANCELLED, "Handler was cancelled"),
        "a cancelled task within the handler must not leave its client waiting",
    ),
    "initial metadata that cannot be sent": Difference(
        Ending(StatusCode.INTERNAL, "Invalid metadata"),
        Ending(StatusCode.UNKNOWN, INVALID + "0-9 a-z _ . - and are lower case"),
        "the error is raised where the mistake was made, and the log names the key",
    ),
    "trailing metadata that cannot be sent": Difference(
        Ending(StatusCode.INTERNAL, "Invalid metadata"),
        Ending(StatusCode.UNKNOWN, INVALID + "0-9 a-z _ . - and are lower case"),
        "the error is raised by set_trailing_metadata, where the mistake was made",
    ),
    "grpc-trace-bin and grpc-tags-bin": Difference(
        (),
        (("grpc-tags-bin", b"tags"), ("grpc-trace-bin", b"trace")),
        "there is no OpenCensus here that would need them alone",
    ),
    "code() of a number": Difference(7, StatusCode.PERMISSION_DENIED, "the same type whatever was set"),
    "code() of no code": Difference("text", StatusCode.UNKNOWN, "what will be sent"),
    "cancelled() after the client's cancel": Difference(NO, YES, "it is what the method is for"),
    "done() after the client's cancel or the deadline": Difference(NO, YES, "grpc.aio's interface says so"),
    "code() after the deadline": Difference(None, StatusCode.DEADLINE_EXCEEDED, "a callback can count it"),
    "code() after the client's cancel": Difference(None, StatusCode.CANCELLED, "a callback can count it"),
    "code() after an error": Difference(None, StatusCode.UNKNOWN, "a callback can count it"),
    "a done callback that raises": Difference(
        ["first"], ["first", "last"], "one callback's mistake must not keep others from theirs"
    ),
    "abort after the end": Difference(
        "ExecuteBatchError", "AbortError", "a clean-up that aborts ends as any abort does"
    ),
    "a unary request that is missing": Difference(
        NEVER, Ending(StatusCode.UNIMPLEMENTED, "Request message is missing"), "the client must not wait for ever"
    ),
    "a unary request of two messages": Difference(
        Ending(responses=(b"1",)),
        Ending(StatusCode.UNIMPLEMENTED, "More than one request message"),
        "gRPC's status codes say so",
    ),
    "a message that is too large once decompressed": Difference(
        "Decompressed message larger than max",
        "SERVER: Received message larger than max (101 vs. 100)",
        "the limit is told; the size is where decompression stopped",
    ),
    "set_compression of a unary response": Difference(
        NO, YES, "grpc.aio forgets it unless initial metadata is sent (grpc/grpc#34690)"
    ),
    "NoCompression of a unary response": Difference(
        NO, YES, "grpc.aio forgets it unless initial metadata is sent (grpc/grpc#34690)"
    ),
    "compression for a client that does not accept it": Difference(
        Ending(StatusCode.INTERNAL, "Compression algorithm not supported: gzip"),
        Ending(responses=(bytes(2000),)),
        "the protocol lets a server compress only what the client says that it reads",
    ),
    "peer on a unix socket": Difference("unix:", "unix:PATH", "it says by which of its sockets a call came"),
    "peer on an abstract unix socket": Difference(
        "unix:", "unix-abstract:NAME", "it says by which of its sockets a call came"
    ),
    "ssl_negotiated_key_exchange_group in the auth context": Difference(YES, NO, "Python's ssl does not tell it"),
    "a sync handler that raises StopIteration": Difference(
        NEVER
        if sys.version_info < (3, 12)  # since then asyncio's futures take no StopIteration
        else Ending(
            StatusCode.UNKNOWN,
            "Unexpected <class 'RuntimeError'>: StopIteration interacts badly with generators and cannot be raised "
            "into a Future",
        ),
        Ending(StatusCode.UNKNOWN, "Unexpected <class 'RuntimeError'>: the handler raised StopIteration"),
        "next() on an empty stream must not leave the client waiting",
    ),
    "abort_with_status in a thread": Difference(
        "AttributeError", "AbortError", "a sync handler's context is a whole grpc.ServicerContext"
    ),
    "context variables in a thread": Difference(None, "set", "a handler sees what interceptors set"),
    "add_callback in a thread": Difference(NO, YES, "grpc.ServicerContext's contract: whichever way the call ends"),
    "call details of an interceptor's own": Difference(
        Ending(
            StatusCode.UNKNOWN,
            UNEXPECTED_TYPE + "Argument 'handler_call_details' has incorrect type "
            "(expected grpc._cython.cygrpc._HandlerCallDetails, got OtherDetails)",
        ),
        Ending(responses=(b"other",)),
        "an interceptor can send a call to another method, as in sync gRPC",
    ),
    "a call that stop() cuts": Difference(
        (StatusCode.UNAVAILABLE, "Cancelling all calls"),
        (StatusCode.CANCELLED, "Server stopped"),
        "UNAVAILABLE would have clients send again what may have been done",
    ),
    "start after a stop before it": Difference(NO, YES, "stop has given the ports back"),
    "a port added after start": Difference(
        NO, YES, "grpc.aio's interface says that it may not be; its server does not serve there either"
    ),
    "a server that is collected": Difference(
        StatusCode.UNAVAILABLE, StatusCode.OK, "what is not stopped goes on serving: the loop holds it"
    ),
    "an error of a port's": Difference(
        "; set GRPC_VERBOSITY=debug environment variable to see detailed error message.",
        ": Address already in use",
        "the reason is told where the error is",
    ),
    "a port above 65535": Difference(NO, YES, "no such port"),
    "an address without a port": Difference(NO, YES, "port 443 is nobody's wish"),
    "invalid interceptors": Difference(
        "Interceptor must be ServerInterceptor,the following are invalid: {invalid_interceptors}",
        "Interceptor must be ServerInterceptor, the following are invalid: ['none']",
        "it names them",
    ),
    "code() of OK": Difference(StatusCode.OK, None, "nothing is noted of a call that does not fail"),
}


def expected(subject: str, make_server: MakeServer) -> Any:
    """Return what a stack does where the two differ."""
    difference = DIFFERENCES[subject]
    return difference.grpc_aio if make_server is grpc.aio.server else difference.hasten


def patience(make_server: MakeServer) -> float:
    """Return how long to wait for a status that may never come: little where that is to be shown."""
    return 0.3 if make_server is grpc.aio.server else 30.0

"""How handlers of each kind run, each in the task of its call.

One coroutine a kind, because a task's coroutine is the hot path: each further layer of `await` costs 0.1 µs, each
further object 0.2. The message of a unary request is deserialised here and not in the parser, so that its CPU counts
for the call and not for the connection.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc.aio import AbortError

from hasten._core.ambient import AMBIENT
from hasten.resilience import DeadlineExceeded
from hasten.rpc.server._call import ServerCall, status_of
from hasten.rpc.server._method import Run
from hasten.rpc.wire._compression import MessageError
from hasten.rpc.wire._status import CODE_BY_STATUS

_logger = logging.getLogger("hasten.rpc")
_INTERNAL = CODE_BY_STATUS[grpc.StatusCode.INTERNAL]


async def run_unary_unary(call: ServerCall, message: bytes | None) -> None:
    """Run a coroutine function that takes a request and returns a response."""
    call.running = True
    AMBIENT.set(call)
    method = call.method
    try:
        if message is None:
            message = await call.only_message()
        response = await method.behaviour(method.deserialize(message), call)
        if call.failed:
            call.end_as_set()
        else:
            call.respond(method.serialize(response))
    except BaseException as error:
        end_with(call, error)
    call.handler_ended()


async def run_unary_stream(call: ServerCall, message: bytes | None) -> None:
    """Run an async generator function, or a coroutine function that writes, with one request."""
    call.running = True
    AMBIENT.set(call)
    try:
        if message is None:
            message = await call.only_message()
        await _respond_with(call, call.method.behaviour(call.method.deserialize(message), call))
    except BaseException as error:
        end_with(call, error)
    call.handler_ended()


async def run_stream_unary(call: ServerCall, _message: bytes | None) -> None:
    """Run a coroutine function that takes an iterator of requests and returns a response."""
    call.running = True
    AMBIENT.set(call)
    method = call.method
    try:
        response = await method.behaviour(requests_of(call), call)
        if call.failed:
            call.end_as_set()
        else:
            call.respond(method.serialize(response))
    except BaseException as error:
        end_with(call, error)
    call.handler_ended()


async def run_stream_stream(call: ServerCall, _message: bytes | None) -> None:
    """Run an async generator function, or a coroutine function that reads and writes, with an iterator of requests."""
    call.running = True
    AMBIENT.set(call)
    try:
        await _respond_with(call, call.method.behaviour(requests_of(call), call))
    except BaseException as error:
        end_with(call, error)
    call.handler_ended()


RUN_BY_KIND: dict[tuple[bool, bool], Run] = {
    (False, False): run_unary_unary,
    (False, True): run_unary_stream,
    (True, False): run_stream_unary,
    (True, True): run_stream_stream,
}
"""By whether the request and the response are streams."""


async def _respond_with(call: ServerCall, responses: Any) -> None:
    """Send what a streaming handler yields; one that is a coroutine writes for itself."""
    if hasattr(responses, "__aiter__"):
        serialize, output = call.method.serialize, call.connection.output
        try:
            async for response in responses:
                call.send(serialize(response))
                if call.unsent is not None:
                    await output.writable(call)
        except BaseException:
            if hasattr(responses, "aclose"):
                await responses.aclose()  # its `finally` runs here, and not wherever the garbage collector takes it
            raise
    else:
        await responses
    call.end_as_set()


async def requests_of(call: ServerCall) -> AsyncIterator[Any]:
    """Yield a call's requests until the client has sent its last."""
    deserialize = call.method.deserialize
    while (message := await call.next_message()) is not None:
        yield deserialize(message)


def end_with(call: ServerCall, error: BaseException) -> None:
    """End a call whose handler raised: with the status it chose, else UNKNOWN, as grpc.aio does.

    Raises:
      KeyboardInterrupt, SystemExit: they were raised; the client gets UNKNOWN before.
    """
    if isinstance(error, AbortError) and call.ended:
        return
    if isinstance(error, asyncio.CancelledError):
        call.end(CODE_BY_STATUS[grpc.StatusCode.CANCELLED], "Handler was cancelled")
        return
    if isinstance(error, DeadlineExceeded):
        call.end(CODE_BY_STATUS[grpc.StatusCode.DEADLINE_EXCEEDED], str(error))
        return
    if isinstance(error, MessageError):
        call.end(*status_of(error))
        return
    _logger.error(
        "Unexpected [%s] raised by servicer method [%s]", type(error).__name__, call.head.path, exc_info=error
    )
    code = call.code() or grpc.StatusCode.UNKNOWN
    call.end(CODE_BY_STATUS[code], f"Unexpected {type(error)}: {error}")
    if not isinstance(error, Exception):
        call.handler_ended()  # who called this will not come to it
        raise error

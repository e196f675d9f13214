"""Calls whose handler is found anew each time: by interceptors, or by generic handlers that look at the metadata."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import grpc
from grpc.aio import ServerInterceptor

from hasten._core.ambient import AMBIENT
from hasten.rpc.server._call import ServerCall
from hasten.rpc.server._method import Handlers, Method, Run
from hasten.rpc.server._running import end_with
from hasten.rpc.wire._metadata import decode_metadata
from hasten.rpc.wire._status import CODE_BY_STATUS

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation = Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"]


class CallDetails(NamedTuple):
    """What interceptors and generic handlers see of a call, as `grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: Any


grpc.HandlerCallDetails.register(CallDetails)


def chain(interceptors: Sequence[ServerInterceptor], handlers: Handlers) -> Continuation:
    """Return what finds the handler of a call: the first interceptor, which asks the next, and so on to `handlers`."""

    async def find(details: grpc.HandlerCallDetails) -> "Handler | None":
        return handlers.find(details)

    continuation: Continuation = find
    for interceptor in reversed(interceptors):
        continuation = _link(interceptor, continuation)
    return continuation


def _link(interceptor: ServerInterceptor, continuation: Continuation) -> Continuation:
    async def intercept(details: grpc.HandlerCallDetails) -> "Handler | None":
        handler: Handler | None = await interceptor.intercept_service(continuation, details)
        return handler

    return intercept


def intercepted(continuation: Continuation, prepare: "Callable[[str, Handler], Method]") -> Run:
    """Return what runs a call: it finds the handler, then runs that."""

    async def run(call: ServerCall, message: bytes | None) -> None:
        call.running = True
        AMBIENT.set(call)  # before the interceptors, which may set context variables of their own
        path = call.head.path
        try:
            details = CallDetails(path, decode_metadata(call.fields))
            handler = await continuation(details)  # type: ignore[arg-type]
        except BaseException as error:
            end_with(call, error)
            call.handler_ended()
            return
        if handler is None:
            call.end(CODE_BY_STATUS[grpc.StatusCode.UNIMPLEMENTED], "Method not found!")
            call.handler_ended()
            return
        method = call.method = prepare(path, handler)
        if message is not None and method.request_streaming:  # a handler of another kind than the call's
            call.keep(message)
        await method.run(call, message)

    return run

"""What a path calls: grpc's handlers, made ready to run."""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import grpc

from hasten.rpc.server._call import ServerCall

Run = Callable[[ServerCall, bytes | None], Coroutine[Any, Any, None]]
"""Runs a call's handler to the end; takes the request's message when it came whole, else it is in the inbox."""


class Method:
    """A handler, ready to run.

    Attributes:
      path: `/package.Service/Method`.
      behaviour: The handler: a coroutine function, an async generator function, or a sync function of either kind.
      deserialize, serialize: Between bytes and messages.
      run: What the call's task runs.
      takes_whole_message: A request that is one whole frame may be given to `run` at once.
    """

    __slots__ = (
        *("behaviour", "deserialize", "path", "request_streaming", "response_streaming", "run", "serialize"),
        "takes_whole_message",
    )

    def __init__(self, path: str, handler: "grpc.RpcMethodHandler[Any, Any]", run: Run) -> None:
        self.path = path
        self.request_streaming = bool(handler.request_streaming)
        self.response_streaming = bool(handler.response_streaming)
        self.deserialize: Callable[[bytes], Any] = handler.request_deserializer or _unchanged
        self.serialize: Callable[[Any], bytes] = handler.response_serializer or _as_bytes
        self.behaviour: Callable[..., Any] = behaviour_of(handler)
        self.run = run
        self.takes_whole_message = not self.request_streaming

    @classmethod
    def unresolved(cls, path: str, run: Run) -> "Method":
        """Return a method of which only the call itself can tell what it is: `run` finds out."""
        method = cls.__new__(cls)
        method.path = path
        method.run = run
        method.takes_whole_message = False
        return method


def behaviour_of(handler: "grpc.RpcMethodHandler[Any, Any]") -> Callable[..., Any]:
    """Return the function of a handler's kind."""
    kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
    behaviour: Callable[..., Any] = getattr(handler, kind)
    return behaviour


def is_async(behaviour: Callable[..., Any]) -> bool:
    """Whether a handler runs in the loop; others run in threads."""
    while isinstance(behaviour, partial):
        behaviour = behaviour.func
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (behaviour, getattr(behaviour, "__call__", None))  # noqa: B004 - objects with an async __call__
    )


def _unchanged(message: Any) -> Any:
    return message


def _as_bytes(message: Any) -> Any:
    """Return what grpc.aio sends where there is no serialiser: text as UTF-8, nothing for None."""
    if isinstance(message, str):
        return message.encode()
    return b"" if message is None else message


class Handlers:
    """The handlers of one server, by path.

    Registered ones are found by a dict; generic ones are asked for each call, since they may look at its metadata.
    """

    def __init__(self) -> None:
        self.registered: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self.generic: list[grpc.GenericRpcHandler] = []

    def register(self, service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        for name, handler in handlers.items():
            self.registered[f"/{service}/{name}"] = handler

    def add_generic(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self.generic.extend(handlers)

    def find(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler for a call, None when nobody takes it."""
        handler = self.registered.get(str(details.method))
        if handler is not None:
            return handler
        for generic in self.generic:
            handler = generic.service(details)
            if handler is not None:
                return handler
        return None

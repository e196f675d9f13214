"""Calls that go through interceptors, as users hold them, and what stubs call to make them."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any, TypeAlias

import grpc
from grpc.aio import EOF, ClientCallDetails, Metadata, UsageError

from hasten.rpc.channel._call import call_back
from hasten.rpc.channel._interceptors import Intercept, Interception, Interceptors, Way
from hasten.rpc.channel._streams import Requests
from hasten.rpc.channel._substitutes import EndedCall, IteratedCall, Link
from hasten.rpc.channel._written import WrittenRequests

_MIXED_STYLES = "The iterator and read/write APIs may not be mixed on a single RPC."
Make: TypeAlias = Callable[[str | bytes], Any]
"""Returns the multicallable without interceptors for a method's path."""


class _Intercepted:
    """What the four kinds share: all of `grpc.aio.Call`, by their interception."""

    def __init__(self, interception: Interception) -> None:
        self._interception = interception

    @property
    def wait_name(self) -> str:
        """What the ledger calls the wait for this call."""
        return self._interception.way.name

    @property
    def wait_identity(self) -> str:
        """What is equal for equal questions; empty when that is not known."""
        return ""

    def cancel(self) -> bool:
        return self._interception.cancel()

    def cancelled(self) -> bool:
        call = self._interception.call
        return call is not None and bool(call.cancelled())

    def done(self) -> bool:
        call = self._interception.call
        return call is not None and bool(call.done())

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline, None without one; its time begins after the interceptors."""
        call = self._interception.call
        seconds: float | None = call.time_remaining() if call is not None else self._interception.timeout
        return seconds

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback` with this call when it is over; at once when it is."""
        self._interception.when_over(partial(_tell, callback, weakref.ref(self), type(self), self._interception))

    async def initial_metadata(self) -> Metadata:
        metadata: Metadata = await (await self._interception.outcome()).initial_metadata()
        return metadata

    async def trailing_metadata(self) -> Metadata:
        metadata: Metadata = await (await self._interception.outcome()).trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await (await self._interception.outcome()).code()
        return code

    async def details(self) -> str:
        details: str = await (await self._interception.outcome()).details()
        return details

    async def debug_error_string(self) -> str:
        text: str = await (await self._interception.outcome()).debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        await (await self._interception.outcome()).wait_for_connection()

    def __repr__(self) -> str:
        state = "over" if self.done() else "open"
        return f"<{type(self).__name__} {self.wait_name.removeprefix('rpc ')} {state}>"


def _tell(
    callback: Callable[[Any], None],
    reference: "weakref.ref[_Intercepted]",
    kind: type[_Intercepted],
    interception: Interception,
) -> None:
    """Call back with the user's object; with another one for the same call when that was dropped."""
    call_back(callback, reference() or kind(interception))


class _UnaryResponse(_Intercepted):
    """One response; await the call for it.

    Cancellation: cancelling who awaits it cancels the interceptors, and then the call.
    """

    def __await__(self) -> Generator[Any, None, Any]:
        call = self._interception.call
        if call is None:
            call = yield from self._interception.task.__await__()
        return (yield from call.__await__())


class _Streamed(_Intercepted):
    """Cancelled when it is dropped: nobody can read or write the rest."""

    def __del__(self) -> None:
        interception = getattr(self, "_interception", None)
        if interception is not None:
            interception.drop_later()


class _StreamResponse(_Streamed):
    """Responses one by one, by `async for` or by `read`, which may be mixed here as in grpc.aio."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Any]:
        while (response := await self._interception.read()) is not EOF:
            yield response

    async def read(self) -> Any:
        """Return the next response, `grpc.aio.EOF` after the last."""
        return await self._interception.read()


class _StreamRequest(_Streamed):
    """Requests one by one: by an iterator given, or by `write`."""

    async def write(self, request: Any) -> None:
        """Offer a request; waits until it is taken.

        Raises:
          InvalidStateError: the call is over, or `done_writing` was called.
        """
        await self._written().write(request)

    async def done_writing(self) -> None:
        """Tell the server that no more requests come."""
        self._written().end()

    def _written(self) -> WrittenRequests:
        written = self._interception.written
        if written is None:
            raise UsageError(_MIXED_STYLES)
        return written


class InterceptedUnaryUnaryCall(_UnaryResponse, grpc.aio.UnaryUnaryCall[Any, Any]):
    """One message each way. One that is dropped goes on, as without interceptors."""

    @property
    def wait_identity(self) -> str:
        return repr(self._interception.request) or "no fields"


class InterceptedUnaryStreamCall(_StreamResponse, grpc.aio.UnaryStreamCall[Any, Any]):
    """One request, a stream of responses."""


class InterceptedStreamUnaryCall(_UnaryResponse, _StreamRequest, grpc.aio.StreamUnaryCall[Any, Any]):
    """A stream of requests, one response."""


class InterceptedStreamStreamCall(_StreamRequest, _StreamResponse, grpc.aio.StreamStreamCall[Any, Any]):
    """A stream of requests, a stream of responses."""


class _Multicallable:
    """A method whose calls go through interceptors.

    Args:
      make: Used for the method itself, and for those that interceptors put in its place.
    """

    def __init__(
        self, interceptors: Interceptors, intercepts: tuple[Intercept, ...], make: Make, path: str | bytes
    ) -> None:
        self._interceptors = interceptors
        self._intercepts = intercepts
        self._make = make
        self._method = path.encode() if isinstance(path, str) else path
        self._multicallable = make(path)

    def _intercept(
        self,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,  # noqa: FBT001 (grpc.aio's order)
        compression: grpc.Compression | None,
    ) -> Interception:
        given = metadata if isinstance(metadata, Metadata) else Metadata(*(metadata or ()))
        method: Any = self._method  # bytes, as grpc.aio's: what the stubs say is not so (grpc/grpc#31092)
        details = ClientCallDetails(method, timeout, given, credentials, wait_for_ready)
        way = Way(
            self._multicallable.method.wait_name, self._intercepts, partial(self._invoke, compression), self._substitute
        )
        interception = Interception(asyncio.get_running_loop(), way, details, request)
        self._interceptors.watch(interception)
        return interception

    def _invoke(self, compression: grpc.Compression | None, details: ClientCallDetails, request: Any) -> grpc.aio.Call:
        method: str | bytes = details.method
        multicallable = self._multicallable if method == self._method else self._make(method)
        call: grpc.aio.Call = multicallable(
            request,
            timeout=details.timeout,
            metadata=details.metadata,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=compression,
        )
        return call

    def _substitute(self, returned: Any, link: Link) -> grpc.aio.Call:
        """Make a call of what an interceptor returned instead of one."""
        raise NotImplementedError


class _ResponseMulticallable(_Multicallable):
    def _substitute(self, returned: Any, link: Link) -> grpc.aio.Call:
        return EndedCall(returned)


class _ResponsesMulticallable(_Multicallable):
    def _substitute(self, returned: Any, link: Link) -> grpc.aio.Call:
        return IteratedCall(returned, link)


class InterceptedUnaryUnary(_ResponseMulticallable, grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    """One message each way."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> InterceptedUnaryUnaryCall:
        given = (timeout, metadata, credentials, wait_for_ready, compression)
        return InterceptedUnaryUnaryCall(self._intercept(request, *given))


class InterceptedUnaryStream(_ResponsesMulticallable, grpc.aio.UnaryStreamMultiCallable[Any, Any]):
    """One request, a stream of responses."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> InterceptedUnaryStreamCall:
        given = (timeout, metadata, credentials, wait_for_ready, compression)
        return InterceptedUnaryStreamCall(self._intercept(request, *given))


class InterceptedStreamUnary(_ResponseMulticallable, grpc.aio.StreamUnaryMultiCallable[Any, Any]):
    """A stream of requests, one response."""

    def __call__(
        self,
        request_iterator: Requests = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,  # noqa: FBT001 (grpc.aio's signature)
        compression: grpc.Compression | None = None,
    ) -> InterceptedStreamUnaryCall:
        requests = WrittenRequests() if request_iterator is None else request_iterator
        given = (timeout, metadata, credentials, wait_for_ready, compression)
        return InterceptedStreamUnaryCall(self._intercept(requests, *given))


class InterceptedStreamStream(_ResponsesMulticallable, grpc.aio.StreamStreamMultiCallable[Any, Any]):
    """A stream of requests, a stream of responses."""

    def __call__(
        self,
        request_iterator: Requests = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,  # noqa: FBT001 (grpc.aio's signature)
        compression: grpc.Compression | None = None,
    ) -> InterceptedStreamStreamCall:
        requests = WrittenRequests() if request_iterator is None else request_iterator
        given = (timeout, metadata, credentials, wait_for_ready, compression)
        return InterceptedStreamStreamCall(self._intercept(requests, *given))

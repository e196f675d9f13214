"""A call with a stream of requests, of responses, or of both: what happens between the user's object and the wire.

The user's object (`_streams`) can be dropped in mid-stream, and then cancels; what stands here is held by the
connection until the stream is over.
"""

import asyncio
import math
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import EOF

from hasten.rpc.channel._call import (
    CANCELLED_LOCALLY,
    OK,
    ClientCall,
    Dispatcher,
    Method,
    checked_payload,
    too_large_to_send,
)
from hasten.rpc.transport._inbox import Inbox
from hasten.rpc.wire._compression import IDENTITY, MessageError, MessageTooLarge, decompress
from hasten.rpc.wire._frames import DATA, END_STREAM, PADDED, ErrorCode, frame
from hasten.rpc.wire._payloads import unpadded

if TYPE_CHECKING:
    from hasten.rpc.channel._connection import ClientConnection
    from hasten.rpc.wire._response_head import ResponseHead

_REPLAY_BYTES = 256 * 1024
"""Requests that are kept so that the call can be sent again (grpc-core's per-RPC retry buffer)."""
_FINISHED = "RPC already finished."
_HALF_CLOSED = 'RPC is half closed after calling "done_writing".'


class Exchange(ClientCall):
    """A call whose requests or responses are a stream.

    Args:
      payloads: Requests that are known already: the only one of a unary request, which then ends with it.
      requests_ended: Nothing will be written.
    """

    def __init__(
        self,
        method: Method,
        channel: Dispatcher,
        rest: bytes,
        loop: asyncio.AbstractEventLoop,
        *,
        request: bytes | None = None,
    ) -> None:
        self.method = method
        self.channel = channel
        self.rest = rest
        self._loop = loop
        self._sent: list[bytes] | None = [] if request is None else [request]
        self._sent_size = 0
        self._requests_ended = request is not None
        self._sending: asyncio.Future[None] = loop.create_future()
        self._reading: asyncio.Future[None] | None = None

    # ---- requests

    def dispatch(self) -> None:
        size = len(self._sent[0]) if self._sent else 0
        if self.largest_request and size > self.largest_request:
            self.finish(grpc.StatusCode.RESOURCE_EXHAUSTED, too_large_to_send(size, self.largest_request), final=True)
        else:
            super().dispatch()

    def send(self, connection: "ClientConnection", table_update: bytes = b"") -> None:
        self.inbox = Inbox(connection, self.stream_id, connection.limits)
        timeout = connection.timeout_field(self.deadline) if self.deadline < math.inf else b""
        attempt = self.plan.fields() if self.plan is not None else b""
        block = table_update + self.method.prefix + timeout + self.rest + self.span_field + attempt
        connection.write(connection.head_frames(self.stream_id, block))
        for payload in self._sent or ():
            self._send_message(connection, payload)
        if self._requests_ended:
            self._send_end(connection)
        if not self._sending.done():
            self._sending.set_result(None)

    def _send_message(self, connection: "ClientConnection", payload: bytes) -> None:
        payload, compressed = self.compressed(payload)
        connection.output.send_message(self, payload, compressed=compressed)

    def _send_end(self, connection: "ClientConnection") -> None:
        connection.output.send_tail(self, frame(DATA, END_STREAM, self.stream_id))

    async def write(self, request: Any) -> None:
        """Send a request, and wait until the server's window and the socket have taken it.

        Raises:
          InvalidStateError: the call is over, or `end_requests` was called.
        Cancellation: the request may be sent all the same.
        """
        self._require_open()
        payload = checked_payload(self.method.serialize(request))
        if self.largest_request and len(payload) > self.largest_request:
            self.reset(ErrorCode.CANCEL)
            details = too_large_to_send(len(payload), self.largest_request)
            self.finish(grpc.StatusCode.RESOURCE_EXHAUSTED, details, final=True)
            raise self.error()
        await self._sent_once()
        self._require_open()
        self._keep(payload)
        connection = self.connection
        if connection is not None:
            self._send_message(connection, payload)
            if self.unsent is not None:
                await connection.output.writable(self)

    def _require_open(self) -> None:
        if self._code is not None:
            raise asyncio.InvalidStateError(_FINISHED)
        if self._requests_ended:
            raise asyncio.InvalidStateError(_HALF_CLOSED)

    def _keep(self, payload: bytes) -> None:
        """Keep a request for the case that the call is sent again."""
        if self._sent is not None:
            self._sent_size += len(payload)
            if self._sent_size > _REPLAY_BYTES:
                self._sent = None
            else:
                self._sent.append(payload)

    async def end_requests(self) -> None:
        """Tell the server that no more requests come."""
        if self._code is not None or self._requests_ended:
            return
        await self._sent_once()
        self._requests_ended = True
        if self.connection is not None and self._code is None:
            self._send_end(self.connection)

    async def _sent_once(self) -> None:
        """Wait until the current attempt's headers, and the requests there were before, have been sent."""
        while not self._sending.done():
            await asyncio.shield(self._sending)

    async def wait_for_connection(self) -> None:
        """Wait until the request's headers have been sent.

        Raises:
          AioRpcError: the call ended before.
        """
        await self._sent_once()
        if self._code is not None and self._code is not OK:
            raise self.error()

    @property
    def can_be_sent_again(self) -> bool:
        return self._sent is not None

    def _forget_attempt(self) -> None:
        if self._sending.done():
            self._sending = self._loop.create_future()  # writers wait until the call is sent again
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)  # it waited for what the last attempt would receive

    def on_sent(self) -> None:
        """The requests have gone out."""

    # ---- responses

    def on_message(self, message: bytes) -> None:
        raise AssertionError("an exchange takes its messages through its inbox")

    def on_initial(self, head: "ResponseHead") -> None:
        super().on_initial(head)
        self._sent = None  # committed: the call is not sent again

    def on_data(self, flags: int, payload: bytes) -> None:
        assert self.inbox is not None
        assert self.connection is not None
        data = unpadded(payload) if flags & PADDED else payload
        try:
            if not self.inbox.feed(data, padding=len(payload) - len(data)):
                self.connection.violated(self.stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        except MessageError as error:
            self.reset(ErrorCode.CANCEL)
            self.finish(error.code, str(error))

    def on_trailers(self, head: "ResponseHead") -> None:
        if self.unsent is not None or not self._requests_ended:
            self._stop_sending()
        if self.inbox is not None and self.inbox.is_incomplete:
            self._trailers = head
            self.finish(grpc.StatusCode.INTERNAL, "The response ended within a message")
        else:
            super().on_trailers(head)

    def _on_finish(self) -> None:
        if self.inbox is not None:
            self.inbox.end()
        if not self._sending.done():
            self._sending.set_result(None)
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    async def read(self) -> Any:
        """Return the next response, `grpc.aio.EOF` after the last one of a call that ended well.

        Raises:
          AioRpcError: the call ended with another status than OK.
        Cancellation: cancels the call.
        """
        try:
            message = await self._next_message()
        except asyncio.CancelledError:
            self.cancel()
            raise
        except MessageError as error:
            self._overrule(error.code, str(error))
            message = None
        if message is not None:
            return self.method.deserialize(message)
        if self._code is not OK:
            raise self.error()
        return EOF

    async def _next_message(self) -> bytes | None:
        while True:
            inbox = self.inbox
            if inbox is not None and inbox.messages:
                return self._take(inbox)
            if self._code is not None:
                return None
            self._reading = self._loop.create_future()
            if inbox is None:
                await asyncio.shield(self._sending)
            elif not inbox.ended:
                inbox.notify(self._reading)
                await self._reading
            else:
                await self._reading

    def _take(self, inbox: Inbox) -> bytes:
        is_compressed, message = inbox.pop()
        self.received_bytes += len(message)
        if is_compressed:
            encoding = self._initial.encoding if self._initial is not None else IDENTITY
            message = decompress(encoding, message, inbox.limits.message_bytes)
        if self.largest_response and len(message) > self.largest_response:
            raise MessageTooLarge(len(message), self.largest_response)
        return message

    async def only_response(self) -> Any:
        """Return the response of a call that has one; raises and is cancelled as `read` is."""
        response = await self.read()
        if response is EOF or await self.read() is not EOF:
            problem = "No response message" if response is EOF else "More than one response message"
            self._overrule(grpc.StatusCode.UNIMPLEMENTED, problem)
            raise self.error()
        return response

    def _overrule(self, code: grpc.StatusCode, details: str) -> None:
        """End the call with an error found while reading, whatever the status says that may have come already."""
        self.reset(ErrorCode.CANCEL)
        self.finish(code, details, final=True)
        self._code, self._details = code, details
        if self.inbox is not None:
            self.inbox.discard()

    @property
    def all_received_bytes(self) -> int:
        unread = self.inbox.messages if self.inbox is not None else ()
        return self.received_bytes + sum(len(message) for _, message in unread)

    @property
    def has_unread(self) -> bool:
        """Whether there are responses that nobody has read."""
        return self.inbox is not None and bool(self.inbox.messages)

    def cancel(self) -> bool:
        """Cancel the call; one whose status has come before its responses were read is open for its caller."""
        if self._code is None or not self.has_unread:
            return super().cancel()
        assert self.inbox is not None
        self.inbox.discard()
        self._cancelled = True
        self._code, self._details = grpc.StatusCode.CANCELLED, CANCELLED_LOCALLY
        return True

    def discard_later(self) -> None:
        """Nobody will read: cancel what is open, forget what is unread.

        Called when the garbage collector takes the user's object, in whatever thread and place: the loop does it.
        """
        if not self._loop.is_closed() and not (self.done() and not self.has_unread):
            self._loop.call_soon_threadsafe(self._discard)

    def _discard(self) -> None:
        self.cancel()
        if self.inbox is not None:
            self.inbox.discard()

"""Messages that come in pieces, or several on one stream (gRPC over HTTP/2, Length-Prefixed-Message)."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from hasten.rpc._limits import Limits
from hasten.rpc.wire._compression import MalformedMessage, MessageTooLarge
from hasten.rpc.wire._frames import MESSAGE_PREFIX, unpack_u32, window_frame

if TYPE_CHECKING:
    from hasten.rpc.transport._connection import Connection

Message = tuple[bool, bytes]
"""Whether it is compressed, and its bytes."""


_UNREAD_BYTES = 96
"""What a message that waits costs beside its bytes: without them 1 MiB of empty messages would hold 18 MiB."""


def _is_one_message(payload: bytes, length: int) -> bool:
    return length >= MESSAGE_PREFIX and not payload[0] and unpack_u32(payload, 1)[0] == length - MESSAGE_PREFIX


class Inbox:
    """What one stream has received and nobody has read: whole messages, and the beginning of the next.

    Messages are widened for as they are read, so that a reader who stands still stops the peer after
    `Limits.stream_window_bytes`; a message longer than the window is widened for at once, or it would never come whole.

    Attributes:
      messages: Whole messages, unread.
      ended: Nothing more will come.
      window: Bytes that the peer may still send.
    """

    __slots__ = (
        *("_connection", "_held", "_is_cut_off", "_need", "_partial", "_stream_id", "_unwidened", "_waiter", "_whole"),
        *("ended", "limits", "messages", "window"),
    )

    def __init__(self, connection: "Connection[Any]", stream_id: int, limits: Limits) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self.limits = limits
        self._partial = bytearray()
        self._need = MESSAGE_PREFIX
        self._whole = MESSAGE_PREFIX + limits.message_bytes
        self._held = 0
        self._unwidened = 0
        self._waiter: asyncio.Future[None] | None = None
        self.messages: deque[Message] = deque()
        self.ended = False
        self._is_cut_off = False
        self.window = limits.stream_window_bytes

    @property
    def is_incomplete(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._is_cut_off or bool(self._partial)

    def feed(self, payload: bytes, padding: int = 0) -> bool:
        """Take the data of a DATA frame; False when the peer has sent more than its window allows.

        Args:
          padding: Bytes of the frame's payload beside the data; they count for the window.

        Raises:
          MessageTooLarge, MalformedMessage: what came is no message we take.
        """
        length = len(payload)
        self.window -= length + padding
        self._unwidened += padding
        if self.window < 0:
            return False
        self._held += length
        self._connection.held_bytes += length
        partial = self._partial
        if not partial and length <= self._whole and _is_one_message(payload, length):  # the usual case
            self._add((False, payload[MESSAGE_PREFIX:]))
            self._wake()
            return True
        partial += payload
        while len(partial) >= self._need:
            if self._need == MESSAGE_PREFIX:
                self._begin(partial)
                if len(partial) < self._need:
                    break
            self._add((bool(partial[0]), bytes(memoryview(partial)[MESSAGE_PREFIX : self._need])))
            del partial[: self._need]
            self._need = MESSAGE_PREFIX
        lacking = self._need - len(partial) - self.window
        if partial and lacking > 0:
            self._widen(lacking)
        if self.messages:
            self._wake()
        return True

    def keep(self, message: bytes) -> None:
        """Take a message that came without us, its bytes counted and widened for."""
        self._held += len(message) + MESSAGE_PREFIX
        self._connection.held_bytes += len(message) + MESSAGE_PREFIX
        self._add((False, message))

    def _add(self, message: Message) -> None:
        self.messages.append(message)
        self._held += _UNREAD_BYTES
        self._connection.held_bytes += _UNREAD_BYTES

    def _begin(self, partial: bytearray) -> None:
        (length,) = unpack_u32(partial, 1)
        if length > self.limits.message_bytes:
            raise MessageTooLarge(length, self.limits.message_bytes)
        if partial[0] > 1:
            raise MalformedMessage(f"message prefix with reserved flags {partial[0]:#x}")
        self._need = MESSAGE_PREFIX + length

    def end(self) -> None:
        """Note that nothing more will come; of a message that is not whole nothing is kept."""
        self.ended = True
        if self._partial:
            self._is_cut_off = True
            self._release(len(self._partial))
            self._partial.clear()
        self._wake()

    def pop(self) -> Message:
        """Take the first message, which must be there, and let the peer send as much again."""
        message = self.messages.popleft()
        size = len(message[1]) + MESSAGE_PREFIX
        self._release(size + _UNREAD_BYTES)
        if not self.ended:
            self._unwidened += size
            lacking = min(self._unwidened, self.limits.stream_window_bytes - self.window)
            if lacking * 2 >= self.limits.stream_window_bytes:
                self._unwidened = 0
                self._widen(lacking)
        return message

    async def available(self) -> bool:
        """Wait for a message; False when the stream ended without another.

        Cancellation: nothing is lost; the next caller gets the message.
        """
        while not self.messages:
            if self.ended:
                return False
            if self._waiter is None:
                self._waiter = self._connection.loop.create_future()
            await asyncio.shield(self._waiter)
        return True

    def notify(self, waiter: "asyncio.Future[None]") -> None:
        """Finish `waiter` with the next message or the end; one waiter at a time."""
        self._waiter = waiter

    def discard(self) -> None:
        """Forget everything: the stream is over and nobody will read."""
        self.messages.clear()
        self._partial.clear()
        self._release(self._held)
        self.end()

    def _release(self, size: int) -> None:
        self._held -= size
        self._connection.held_bytes -= size

    def _widen(self, increment: int) -> None:
        self.window += increment
        self._connection.write(window_frame(self._stream_id, increment))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

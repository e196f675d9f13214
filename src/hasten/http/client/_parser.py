"""HTTP/1.1 responses from bytes, without I/O: one at a time, the body kept until somebody takes it.

Source: RFC 9112 sections 6.3 (body length), 7.1 (chunks and trailers), 9.3 (persistence).
"""

import re

from hasten.http.client._head import CHUNKED, HEAD_BYTES, INTERIM, UNTIL_CLOSE, Head, Heads, Malformed

CHUNK_LINE_BYTES = 1_024
"""A chunk's size with its extensions."""
_IN_HEAD, _IN_LENGTH, _IN_SIZE, _IN_CHUNK, _IN_CHUNK_END, _IN_TRAILERS, _IN_REST, _DONE = range(8)
_HEX = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")
_START = b"HTTP/1."


class TooLong(Exception):
    """Raised when a body is longer than was allowed."""


class ResponseParser:
    """Parses the responses of one connection: `begin`, then `feed` until it returns True.

    A response that comes whole costs 1 µs if its head is known.

    Attributes:
      head: Of the response, once it has come; None before.
      keep_alive: The connection may carry another request. Bytes behind the end of a response make it False.
      touched: A byte of this response has come.
    """

    __slots__ = ("_buffer", "_heads", "_left", "_most", "_no_body", "_parts", "_state", "head", "keep_alive", "touched")

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._buffer = b""
        self._parts: list[bytes] = []
        self._state = _DONE
        self._left = self._most = 0
        self._no_body = False
        self.head: Head | None = None
        self.keep_alive = True
        self.touched = False

    def begin(self, *, no_body: bool, most_bytes: int) -> None:
        """Expect the next response.

        Args:
          no_body: It answers HEAD.
          most_bytes: Of its body; less than that may be allowed for a stream, which has no end.
        """
        self._state = _IN_HEAD
        self._no_body, self._most = no_body, most_bytes
        self.head = None
        self.touched = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; True when they complete the response.

        Raises:
          Malformed: they are no HTTP/1.1 response. The parser must not be fed again.
          TooLong: the body is.
        """
        if self._state == _IN_HEAD and not self._buffer and not self._no_body:
            end = data.find(b"\r\n\r\n")
            head = self._heads.known(data[:end])
            # A negative length (chunked, interim ...) can never make the two sides equal.
            if head is not None and len(data) == end + 4 + head.length and head.length <= self._most:
                self.touched = True
                self._state = _DONE
                self.head, self.keep_alive = head, head.keep_alive
                self._parts = [data[end + 4 :]]
                return True
        return self._feed(data)

    def take(self) -> bytes:
        """Return what has come of the body since the last call."""
        parts = self._parts
        self._parts = []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> bool:
        """Note that the server has sent its last byte; True if that completes the response."""
        complete = self._state == _IN_REST
        self._state = _DONE
        self.keep_alive = False
        return complete

    def _feed(self, data: bytes) -> bool:
        self.touched = self.touched or bool(data)
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while at < len(buffer) and self._state != _DONE:
            moved = self._step(buffer, at)
            if moved < 0:
                break
            at = moved
        if self._state != _DONE:
            self._buffer = buffer[at:]
            return False
        self._buffer = b""
        self.keep_alive = self.keep_alive and at == len(buffer)
        return True

    def _step(self, buffer: bytes, at: int) -> int:
        """Take one element; return where it ends, or -1 when bytes are missing."""
        state = self._state
        if state == _IN_HEAD:
            return self._take_head(buffer, at)
        if state in (_IN_LENGTH, _IN_CHUNK):
            return self._take_body(buffer, at)
        if state == _IN_SIZE:
            return self._take_size(buffer, at)
        if state == _IN_CHUNK_END:
            return self._take_chunk_end(buffer, at)
        if state == _IN_TRAILERS:
            return self._take_trailer(buffer, at)
        self._allow(len(buffer) - at)
        self._parts.append(buffer[at:])
        return len(buffer)

    def _take_head(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n\r\n", at)
        if end - at > HEAD_BYTES or (end < 0 and len(buffer) - at >= HEAD_BYTES + 4):
            raise Malformed(f"the head is longer than {HEAD_BYTES} bytes")
        if not _START.startswith(buffer[at : at + len(_START)]):  # said at once: who speaks another protocol may wait
            raise Malformed("no HTTP/1.1 status line")
        if end < 0:
            return -1
        head = self._heads.parse(buffer[at:end])
        if head.length != INTERIM:
            self._enter_body(head)
        return end + 4

    def _enter_body(self, head: Head) -> None:
        self.head = head
        length = 0 if self._no_body else head.length
        self.keep_alive = head.keep_alive and length != UNTIL_CLOSE
        self._left = length
        if length > 0:
            self._allow(length)
            self._state = _IN_LENGTH
        elif length == CHUNKED:
            self._state = _IN_SIZE
        else:
            self._state = _IN_REST if length == UNTIL_CLOSE else _DONE

    def _allow(self, count: int) -> None:
        """Take a part of the body out of what is allowed."""
        self._most -= count
        if self._most < 0:
            raise TooLong

    def _take_body(self, buffer: bytes, at: int) -> int:
        available = len(buffer) - at
        if available < self._left:
            self._left -= available
            self._parts.append(buffer[at:])
            return len(buffer)
        end = at + self._left
        self._parts.append(buffer[at:end])
        self._state = _DONE if self._state == _IN_LENGTH else _IN_CHUNK_END
        return end

    def _take_size(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n", at)
        if end - at > CHUNK_LINE_BYTES or (end < 0 and len(buffer) - at >= CHUNK_LINE_BYTES + 2):
            raise Malformed(f"a chunk's size line is longer than {CHUNK_LINE_BYTES} bytes")
        if end < 0:
            return -1
        size = _HEX.fullmatch(buffer, at, end)
        if size is None:
            raise Malformed("a chunk's size is no hexadecimal number")
        self._left = int(size[1], 16)
        self._allow(self._left)
        self._state = _IN_CHUNK if self._left else _IN_TRAILERS
        return end + 2

    def _take_chunk_end(self, buffer: bytes, at: int) -> int:
        if len(buffer) - at < 2:
            return -1
        if buffer[at : at + 2] != b"\r\n":
            raise Malformed("a chunk is longer than its size says")
        self._state = _IN_SIZE
        return at + 2

    def _take_trailer(self, buffer: bytes, at: int) -> int:
        """Skip one trailer field; `_left`, 0 at the first, counts down what all of them took."""
        end = buffer.find(b"\r\n", at)
        taken = (end if end >= 0 else len(buffer)) - at
        if taken - self._left > HEAD_BYTES + 1:
            raise Malformed(f"the trailer is longer than {HEAD_BYTES} bytes")
        if end < 0:
            return -1
        if taken == 0:
            self._state = _DONE
        self._left -= taken + 2
        return end + 2

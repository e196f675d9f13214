"""Protobuf messages as bytes for the cache's second tier. Who reads them may be older or newer than who wrote them."""

from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from hasten.cache import CodecError

M = TypeVar("M", bound=Message)


class MessageCodec(Generic[M]):
    """A `hasten.cache.Codec` for messages of one type."""

    def __init__(self, kind: type[M]) -> None:
        self._kind = kind

    def encode(self, value: M) -> bytes:
        """Return a message's bytes."""
        return value.SerializeToString()

    def decode(self, data: bytes) -> M:
        """Return the message of bytes; CodecError if they are none."""
        try:
            return self._kind.FromString(data)
        except DecodeError as error:
            raise CodecError(f"no {self._kind.__name__}: {error}") from error

"""The messages between members: MessagePack arrays that begin with the number of their form."""

from typing import Literal, TypeVar

import msgspec

from hasten._core.errors import HastenError

Message = TypeVar("Message", "Announcement", "Acknowledgement")


class UnreadableMessage(HastenError):
    """Raised when a message is not one of ours, or of a form that only a later version knows."""

    exit_code = 3

    def __init__(self, reason: str) -> None:
        super().__init__(f"message not understood: {reason}")
        self.reason = reason


class Announcement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is not to be served any more; the fields of `Invalidation` behind who says so.

    Attributes:
      member: Who announces; acknowledgements go to its channel.
      number: Of the batch, among this member's.
    """

    form: Literal[1]
    member: str
    number: int
    keys: tuple[str, ...]
    tags: tuple[tuple[str, int], ...]


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """These batches of yours I have applied.

    Attributes:
      member: Who has.
    """

    form: Literal[1]
    member: str
    numbers: tuple[int, ...]


_encode = msgspec.msgpack.Encoder().encode
_announcements = msgspec.msgpack.Decoder(Announcement)
_acknowledgements = msgspec.msgpack.Decoder(Acknowledgement)


def encode(message: Announcement | Acknowledgement) -> bytes:
    """Return a message's bytes."""
    return _encode(message)


def announcement(data: bytes) -> Announcement:
    """Return what was announced.

    Raises:
      UnreadableMessage: it cannot be said what is invalid; it may be anything.
    """
    return _decode(_announcements, data)


def acknowledgement(data: bytes) -> Acknowledgement:
    """Return what was acknowledged.

    Raises:
      UnreadableMessage: it cannot be said what; as if it had not come.
    """
    return _decode(_acknowledgements, data)


def _decode(decoder: "msgspec.msgpack.Decoder[Message]", data: bytes) -> Message:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMessage(str(error)) from error

"""The messages between members: MessagePack arrays that begin with the number of their kind."""

from typing import TypeVar

import msgspec

from hasten._core.errors import HastenError

Message = TypeVar("Message")


class UnreadableMessage(HastenError):
    """Raised when a message is not one of ours, or of a kind that only a later version knows."""

    exit_code = 3

    def __init__(self, reason: str) -> None:
        super().__init__(f"message not understood: {reason}")
        self.reason = reason


class Announcement(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """To all: what is not to be served any more; the fields of `Invalidation` behind who says so.

    Attributes:
      member: Who announces; acknowledgements go to its channel.
      number: Of the batch, among this member's.
    """

    member: str
    number: int
    keys: tuple[str, ...]
    tags: tuple[tuple[str, int], ...]


class Departure(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """To all: a member has emptied its memory and left; nobody need wait for it.

    Attributes:
      member: Who has.
    """

    member: str


class Acknowledgement(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """To one member: these batches of yours I have applied.

    Attributes:
      member: Who has.
    """

    member: str
    numbers: tuple[int, ...]


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """To ourselves: so far we have heard everything.

    Attributes:
      number: Among this session's beats.
    """

    number: int


encode = msgspec.msgpack.Encoder().encode
_to_all: msgspec.msgpack.Decoder[Announcement | Departure] = msgspec.msgpack.Decoder(Announcement | Departure)
_to_one: msgspec.msgpack.Decoder[Acknowledgement | Beat] = msgspec.msgpack.Decoder(Acknowledgement | Beat)


def message_to_all(data: bytes) -> Announcement | Departure:
    """Return what everybody is told.

    Raises:
      UnreadableMessage: it cannot be said what is invalid; it may be anything.
    """
    return _decode(_to_all, data)


def message_to_one(data: bytes) -> Acknowledgement | Beat:
    """Return what a single member is told.

    Raises:
      UnreadableMessage: as if it had not come.
    """
    return _decode(_to_one, data)


def _decode(decoder: "msgspec.msgpack.Decoder[Message]", data: bytes) -> Message:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMessage(str(error)) from error

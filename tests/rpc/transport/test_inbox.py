"""Messages that come in pieces, or several in a frame."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc._limits import Limits
from hasten.rpc.transport._inbox import Inbox
from hasten.rpc.wire._compression import MalformedMessage, MessageTooLarge
from tests.rpc._peers import cut, message

if TYPE_CHECKING:
    from hasten.rpc.transport._connection import Connection


class Receiving:
    """What an inbox needs of its connection."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self.written = b""
        self.loop: Any = None

    def write(self, *parts: bytes) -> None:
        self.written += b"".join(parts)

    def increments(self) -> list[int]:
        """Return by how much the window was widened since the last time."""
        frames, _ = cut(self.written)
        self.written = b""
        return [each.increment for each in frames]


def inbox_of(receiving: Receiving, **limits: int) -> Inbox:
    chosen = Limits(**{"message_bytes": 10_000, "stream_window_bytes": 65_535, **limits})  # type: ignore[arg-type]
    return Inbox(cast("Connection[Any]", receiving), 1, chosen)


MESSAGES = st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=300)), max_size=12)


@given(MESSAGES, st.data())
def test_pieces_of_any_size(messages: list[tuple[int, bytes]], draw: st.DataObject) -> None:
    """However messages are cut into frames, and padded, they come out whole and in order; nothing stays held."""
    stream = b"".join(message(payload, compressed=flag) for flag, payload in messages)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    receiving = Receiving()
    inbox = inbox_of(receiving)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        assert inbox.feed(stream[start:end], padding=draw.draw(st.integers(0, 50)))
    assert not inbox.is_incomplete
    assert [inbox.pop() for _ in range(len(inbox.messages))] == [(bool(flag), payload) for flag, payload in messages]
    assert receiving.held_bytes == 0


@given(MESSAGES, st.integers(0, 3000), st.booleans())
def test_a_stream_that_is_cut_off(messages: list[tuple[int, bytes]], end: int, discard: bool) -> None:  # noqa: FBT001
    """Wherever a stream ends, whole messages are there, an incomplete one is noticed, and all of it is released."""
    stream = b"".join(message(payload, compressed=flag) for flag, payload in messages)[:end]
    whole = 0
    while messages[whole:] and len(stream) >= sum(5 + len(payload) for _, payload in messages[: whole + 1]):
        whole += 1
    receiving = Receiving()
    inbox = inbox_of(receiving)
    inbox.feed(stream)
    assert len(inbox.messages) == whole
    inbox.end()
    assert inbox.is_incomplete is (len(stream) > sum(5 + len(payload) for _, payload in messages[:whole]))
    if discard:
        inbox.discard()
    while inbox.messages:
        inbox.pop()
    assert receiving.held_bytes == 0


@pytest.mark.parametrize("pieces", [1, 2, 7])
@pytest.mark.parametrize("size", [10_000, 10_001])
def test_the_largest_message(size: int, pieces: int) -> None:
    """A message of the bound's size is taken and a byte more is not, in however many pieces."""
    inbox = inbox_of(Receiving())
    whole = message(bytes(size))
    step = len(whole) // pieces + 1

    def feed() -> None:
        for start in range(0, len(whole), step):
            inbox.feed(whole[start : start + step])

    if size > 10_000:
        with pytest.raises(MessageTooLarge, match=r"10001 vs\. 10000"):
            feed()
    else:
        feed()
        assert inbox.pop() == (False, bytes(size))


@pytest.mark.parametrize("flag", [2, 128, 255])
def test_reserved_flags(flag: int) -> None:
    """A prefix with other flags than 0 and 1 is no message's."""
    with pytest.raises(MalformedMessage, match="reserved flags"):
        inbox_of(Receiving()).feed(message(b"x", compressed=flag))


def test_the_window() -> None:
    """As much as the window says is taken, padding included, and not a byte more."""
    inbox = inbox_of(Receiving(), stream_window_bytes=100)
    assert inbox.feed(message(bytes(55)), padding=40)
    assert not inbox.feed(b"\x00")


def test_widened_as_messages_are_read() -> None:
    """What was read is given back when it is half a window; padding with it."""
    receiving = Receiving()
    inbox = inbox_of(receiving, stream_window_bytes=100)
    inbox.feed(message(bytes(25)), padding=10)
    inbox.feed(message(bytes(25)))
    assert receiving.increments() == []
    inbox.pop()
    assert receiving.increments() == []
    inbox.pop()
    assert receiving.increments() == [70]
    assert inbox.window == 100


def test_never_wider_than_the_window() -> None:
    """Reading a message that was widened for at once gives back no more than the window."""
    receiving = Receiving()
    inbox = inbox_of(receiving, stream_window_bytes=100)
    whole = message(bytes(1000))
    inbox.feed(whole[:100])
    assert receiving.increments() == [905]
    inbox.feed(whole[100:])
    inbox.pop()
    assert receiving.increments() == [100]
    assert inbox.window == 100


def test_a_prefix_longer_than_the_window() -> None:
    """A window shorter than a message's prefix is widened for that first."""
    receiving = Receiving()
    inbox = inbox_of(receiving, stream_window_bytes=2)
    whole = message(b"hello")
    assert inbox.feed(whole[:2])
    assert receiving.increments() == [3]
    assert inbox.feed(whole[2:5])
    assert receiving.increments() == [5]
    assert inbox.feed(whole[5:])
    assert inbox.pop() == (False, b"hello")
    assert receiving.increments() == [2]


def test_nothing_is_widened_after_the_end() -> None:
    """When nothing more comes no window is widened."""
    receiving = Receiving()
    inbox = inbox_of(receiving, stream_window_bytes=100)
    inbox.feed(message(bytes(90)))
    inbox.end()
    inbox.pop()
    assert receiving.increments() == []


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=40), st.integers(1, 100))
def test_a_reader_that_reads_gets_everything(payloads: list[bytes], window: int) -> None:
    """A peer that keeps to the window can send any messages to a reader that reads: no window is ever stuck."""
    receiving = Receiving()
    inbox = inbox_of(receiving, stream_window_bytes=window)
    stream, room, read = b"".join(message(payload) for payload in payloads), window, []
    while stream:
        assert room > 0
        assert inbox.feed(stream[:room])
        stream, room = stream[room:], max(0, room - len(stream))
        while inbox.messages:
            read.append(inbox.pop()[1])
        room += sum(receiving.increments())
        assert room == inbox.window
    assert read == payloads


def test_small_messages_count_for_more_than_their_bytes() -> None:
    """A message that waits counts for what it costs, since an empty one costs too."""
    receiving = Receiving()
    inbox = inbox_of(receiving)
    inbox.feed(message(b"") * 1000)
    assert receiving.held_bytes >= 1000 * 80
    inbox.discard()
    assert receiving.held_bytes == 0


def test_readers_are_woken() -> None:
    """Who waits gets the next message, or learns of the end; a reader that was cancelled takes nothing with it."""

    async def scenario() -> None:
        receiving = Receiving()
        receiving.loop = asyncio.get_running_loop()
        inbox = inbox_of(receiving)
        first = asyncio.create_task(inbox.available())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second, third = asyncio.create_task(inbox.available()), asyncio.create_task(inbox.available())
        await asyncio.sleep(0)
        inbox.feed(message(b"hello"))
        assert await second
        assert await third
        assert inbox.pop() == (False, b"hello")
        fourth = asyncio.create_task(inbox.available())
        await asyncio.sleep(0)
        inbox.feed(b"\x00")
        inbox.end()
        assert not await fourth
        assert not await inbox.available()

    asyncio.run(scenario())

"""What goes out: windows, fairness, joining, and what is kept."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc._limits import Limits
from hasten.rpc.transport._output import Output
from hasten.rpc.transport._stream import Stream
from hasten.rpc.wire._frames import DATA, END_STREAM, HEADERS, frame
from tests.rpc._fakes import ManualLoop, MemoryTransport
from tests.rpc._peers import cut, message

WINDOW = 65_535


class Sending(Stream):
    """A stream that notes when its tail went out."""

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.is_sent = False

    def on_sent(self) -> None:
        self.is_sent = True


class Sender:
    """An output on a transport in memory.

    Attributes:
      streams: Open streams; more than one lets writes be joined.
    """

    def __init__(self, streams: int = 1, **limits: int) -> None:
        self.loop = ManualLoop()
        self.streams: dict[int, Stream] = {2 * number + 1: Sending(2 * number + 1) for number in range(streams)}
        self.output = Output(self.loop.as_loop(), Limits(**limits), self.streams)  # type: ignore[arg-type]
        self.transport = MemoryTransport(self.loop.as_loop(), asyncio.Protocol())
        self.output.connect(self.transport)

    def stream(self, number: int = 0) -> Sending:
        stream = self.streams[2 * number + 1]
        assert isinstance(stream, Sending)
        return stream

    def sent(self) -> list[tuple[int, int, int]]:
        """Return the kind, stream and size of the frames that have gone since the last time."""
        self.output.flush()
        frames, rest = cut(self.transport.take())
        assert not rest
        return [(each.kind, each.stream_id, len(each.payload)) for each in frames]


def test_a_message_in_one_frame() -> None:
    """A message that the windows and the frame size take goes out whole, behind what must come before it."""
    sender = Sender()
    sender.output.send_message(sender.stream(), b"hello", compressed=True, head=frame(HEADERS, 4, 1, b"head"))
    frames, _ = cut(sender.transport.take())
    assert [each.kind for each in frames] == [HEADERS, DATA]
    assert frames[1].payload == message(b"hello", compressed=1)
    assert sender.output.window == WINDOW - 10
    assert sender.output.sent_bytes == 10
    assert sender.output.kept_bytes == 0


def test_a_long_message() -> None:
    """A message longer than a frame is cut, its tail follows at the end."""
    sender = Sender()
    sender.output.send_message(sender.stream(), bytes(40_000), compressed=False)
    sender.output.send_tail(sender.stream(), frame(HEADERS, 5, 1))
    assert sender.sent() == [(DATA, 1, 16_384), (DATA, 1, 16_384), (DATA, 1, 7_237), (HEADERS, 1, 0)]
    assert sender.stream().is_sent


def test_frames_are_no_longer_than_64_kib() -> None:
    """However long frames the peer takes, no stream keeps the others waiting behind more than 64 KiB."""
    sender = Sender(2)
    sender.output.frame_size = 1 << 20
    sender.output.widen_connection(1 << 20)
    sender.output.set_initial_window(1 << 20)
    sender.output.pause()
    for number in range(2):
        sender.output.send_message(sender.stream(number), bytes(100_000), compressed=False)
    sender.output.resume()
    sizes = [(stream_id, size) for _, stream_id, size in sender.sent()]
    assert sizes == [(1, 65_536), (3, 65_536), (1, 34_469), (3, 34_469)]


def test_the_stream_window() -> None:
    """No more goes out than a stream's window takes; the rest and the tail follow when it is widened."""
    sender = Sender()
    sender.output.set_initial_window(1000)
    sender.output.send_message(sender.stream(), bytes(1995), compressed=False)
    sender.output.send_tail(sender.stream(), frame(DATA, END_STREAM, 1))
    assert sender.sent() == [(DATA, 1, 1000)]
    assert sender.output.kept_bytes == 1000
    assert not sender.output.takes_at_once(sender.stream(), 1)
    assert sender.output.widen_stream(sender.stream(), 600)
    assert sender.sent() == [(DATA, 1, 600)]
    assert not sender.stream().is_sent
    assert sender.output.widen_stream(sender.stream(), 600)
    assert sender.sent() == [(DATA, 1, 400), (DATA, 1, 0)]
    assert sender.stream().is_sent
    assert sender.output.kept_bytes == 0


def test_the_connection_window() -> None:
    """All streams together send no more than the connection's window takes, in turn."""
    sender = Sender(3)
    sender.output.set_initial_window(1 << 20)
    sender.output.pause()
    for number in range(3):
        sender.output.send_message(sender.stream(number), bytes(50_000), compressed=False)
    sender.output.resume()
    assert [size for _, _, size in sender.sent()] == [16_384] * 3 + [16_383]
    assert sender.output.window == 0
    assert sender.output.widen_connection(2 * 16_384)
    assert [stream_id for _, stream_id, _ in sender.sent()] == [3, 5]
    assert sender.output.sent_bytes == WINDOW + 2 * 16_384


def test_a_negative_window() -> None:
    """A window that SETTINGS made negative must be widened above zero before anything goes."""
    sender = Sender()
    sender.output.set_initial_window(1000)
    sender.output.send_message(sender.stream(), bytes(3000), compressed=False)
    sender.sent()
    assert sender.output.set_initial_window(0)
    sender.output.pump()
    assert sender.output.widen_stream(sender.stream(), 1000)
    assert sender.sent() == []
    assert sender.output.widen_stream(sender.stream(), 1)
    assert sender.sent() == [(DATA, 1, 1)]
    assert sender.output.set_initial_window(500)
    sender.output.pump()
    assert sender.sent() == [(DATA, 1, 500)]


def test_a_window_that_shrinks_and_grows_again() -> None:
    """A stream stuck at a smaller window goes on at a larger one, though others are stuck at one still larger."""
    sender = Sender(2)
    first, second = sender.stream(0), sender.stream(1)
    sender.output.set_initial_window(100)
    sender.output.send_message(first, bytes(300), compressed=False)
    sender.output.set_initial_window(50)
    sender.output.send_message(second, bytes(300), compressed=False)
    assert sender.sent() == [(DATA, 1, 100), (DATA, 3, 50)]
    sender.output.set_initial_window(100)
    sender.output.pump()
    assert sender.sent() == [(DATA, 3, 50)]


@pytest.mark.parametrize("increment", [2**31 - 1 - WINDOW, 2**31 - WINDOW])
def test_windows_that_overflow(increment: int) -> None:
    """A window may be 2^31-1 and not one more (RFC 9113 section 6.9.1)."""
    fits = increment + WINDOW < 2**31
    sender = Sender()
    assert sender.output.widen_connection(increment) is fits
    assert Sender().output.widen_stream(sender.stream(), increment) is fits


def test_settings_that_let_a_window_overflow() -> None:
    """SETTINGS_INITIAL_WINDOW_SIZE counts for streams that are open, and not for those that have ended."""
    sender = Sender(2)
    sender.output.widen_stream(sender.stream(1), 2**31 - 1 - WINDOW)
    assert sender.output.set_initial_window(WINDOW)
    assert not sender.output.set_initial_window(WINDOW + 1)
    sender.streams.pop(3)
    assert sender.output.set_initial_window(WINDOW + 1)
    assert sender.output.set_initial_window(2**31 - 1)


def test_stuck_streams_are_left_alone() -> None:
    """A frame that widens one stream costs nothing for the others that wait, however many they are."""
    sender = Sender(1000)
    sender.output.set_initial_window(0)
    for number in range(1000):
        sender.output.send_message(sender.stream(number), b"kept", compressed=False)
    assert not sender.output._ready
    looked_at: list[Stream] = []
    send_chunk = sender.output._send_chunk

    def note(stream: Stream, unsent: Any) -> bool:
        looked_at.append(stream)
        return send_chunk(stream, unsent)

    sender.output._send_chunk = note  # type: ignore[method-assign]
    sender.output.widen_stream(sender.stream(500), 1)
    sender.output.widen_connection(1)
    sender.output.set_initial_window(0)
    sender.output.pump()
    assert set(looked_at) == {sender.stream(500)}
    assert len(looked_at) <= 2


def test_a_paused_socket() -> None:
    """While the socket does not keep up data is kept, and frames without data go."""
    sender = Sender()
    sender.output.pause()
    sender.output.send_message(sender.stream(), b"kept", compressed=False, head=frame(HEADERS, 4, 1))
    assert sender.sent() == [(HEADERS, 1, 0)]
    assert sender.output.kept_bytes == 9
    sender.output.resume()
    assert sender.sent() == [(DATA, 1, 9)]


def test_a_socket_that_pauses_in_between() -> None:
    """Data stops going as soon as the socket says so."""
    sender = Sender()
    sender.output.widen_connection(1 << 20)
    sender.output.set_initial_window(1 << 20)
    write = sender.output._write

    def write_and_pause(frames: bytes) -> None:
        write(frames)
        sender.output.pause()

    sender.output._write = write_and_pause
    sender.output.send_message(sender.stream(), bytes(100_000), compressed=False)
    assert sender.sent() == [(DATA, 1, 16_384)]
    sender.output.resume()
    assert sender.sent() == [(DATA, 1, 16_384)]


@pytest.mark.parametrize(("most", "writes"), [(1, 30), (8, 4), (16, 2)])
def test_writes_are_joined(most: int, writes: int) -> None:
    """With several streams writes are joined until the pass of the loop ends; with one they go at once."""
    sender = Sender(2, flush_messages=most)
    for number in range(30):
        sender.output.write(frame(DATA, 0, 1, b"%d" % number))
    sender.loop.advance(0.0)
    assert sender.transport.writes == writes
    frames, _ = cut(sender.transport.take())
    assert [int(each.payload) for each in frames] == list(range(30))
    del sender.streams[3]
    sender.output.write(b"now")
    assert sender.transport.take() == b"now"


def test_order_across_joining() -> None:
    """What is written alone does not overtake what was joined before."""
    sender = Sender(2)
    sender.output.write(b"one")
    sender.streams.popitem()
    sender.output.write(b"two")
    sender.output.flush()
    assert sender.transport.take() == b"onetwo"


def test_nothing_is_written_after_the_end() -> None:
    """What was collected when the transport closed is dropped."""
    sender = Sender(2)
    sender.output.write(b"late")
    sender.transport.close()
    sender.loop.advance(0.0)
    assert sender.transport.take() == b""


def test_dropped() -> None:
    """What a stream still had to send is forgotten, its tail too, wherever it waited."""
    sender = Sender(3)
    sender.output.set_initial_window(0)
    sender.output.send_message(sender.stream(0), b"stuck", compressed=False)
    sender.output.send_tail(sender.stream(0), b"tail")
    sender.output.pause()
    sender.output.send_message(sender.stream(1), b"ready", compressed=False)
    for number in range(3):
        sender.output.drop(sender.stream(number))
    sender.output.resume()
    sender.output.set_initial_window(1000)
    sender.output.pump()
    assert sender.sent() == []
    assert sender.output.kept_bytes == 0
    assert not sender.stream(0).is_sent


def test_writers_wait() -> None:
    """Who waits for a stream is let go when all of it went, or was dropped; cancelling one leaves the others."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        streams: dict[int, Stream] = {1: Sending(1), 3: Sending(3)}
        output = Output(loop, Limits(), streams)
        output.connect(MemoryTransport(loop, asyncio.Protocol()))
        output.set_initial_window(0)
        for stream in streams.values():
            output.send_message(stream, b"kept", compressed=False)
        waiting = [asyncio.create_task(output.writable(stream)) for stream in (streams[1], streams[1], streams[3])]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        assert not waiting[1].done()
        output.widen_stream(streams[1], 100)
        await waiting[1]
        output.drop(streams[3])
        await waiting[2]
        await output.writable(streams[1])

    asyncio.run(scenario())


ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 4), st.integers(0, 40_000)),
    st.tuples(st.just("widen"), st.integers(0, 4), st.integers(1, 30_000)),
    st.tuples(st.just("connection"), st.just(0), st.integers(1, 60_000)),
    st.tuples(st.just("settings"), st.just(0), st.integers(0, 60_000)),
    st.tuples(st.just("pause"), st.just(0), st.booleans()),
    st.tuples(st.just("drop"), st.integers(0, 4), st.just(0)),
)


@given(st.lists(ACTIONS, max_size=60))
def test_windows_are_kept_and_nothing_is_lost(actions: list[tuple[str, int, int]]) -> None:
    """Whatever happens: windows hold, bytes keep their order, and nothing waits that might go."""
    sender = Sender(5)
    output = sender.output
    connection, initial, paused = WINDOW, WINDOW, False
    widened: dict[int, int] = defaultdict(int)
    wanted: dict[int, bytes] = defaultdict(bytes)
    got: dict[int, bytes] = defaultdict(bytes)

    def collect() -> None:
        nonlocal connection
        output.flush()
        frames, rest = cut(sender.transport.take())
        assert not rest
        for each in frames:
            got[each.stream_id] += each.payload
            connection -= len(each.payload)
        assert connection >= 0

    def room(stream_id: int) -> int:
        return initial + widened[stream_id] - len(got[stream_id])

    for action, number, size in actions:
        stream = sender.stream(number)
        before = {stream_id: len(received) for stream_id, received in got.items()}
        if action == "send":
            payload = bytes((number,)) * size
            wanted[stream.stream_id] += message(payload)
            output.send_message(stream, payload, compressed=False)
        elif action == "widen":
            widened[stream.stream_id] += size
            assert output.widen_stream(stream, size)
        elif action == "connection":
            connection += size
            assert output.widen_connection(size)
        elif action == "settings":
            initial = size
            assert output.set_initial_window(size)
            output.pump()
        elif action == "pause":
            paused = bool(size)
            (output.pause if paused else output.resume)()
        else:
            output.drop(stream)
            collect()
            wanted[stream.stream_id] = got[stream.stream_id]
        collect()
        for stream_id, received in got.items():
            assert len(received) == before.get(stream_id, 0) or room(stream_id) >= 0
    for stream_id, all_of_it in wanted.items():
        assert all_of_it.startswith(got[stream_id])
        if len(got[stream_id]) < len(all_of_it):
            assert paused or connection == 0 or room(stream_id) <= 0
    assert output.kept_bytes == sum(len(wanted[each]) - len(got[each]) for each in wanted)
    assert output.window == connection

"""Deadlines of many streams with one timer, by a clock that the test moves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from hasten.rpc.transport._deadlines import Deadlines
from hasten.rpc.transport._stream import Stream
from tests.rpc._fakes import ManualLoop


class Waiting(Stream):
    """A stream that notes when it was told."""

    def __init__(self, deadlines: "Watched", deadline: float) -> None:
        self.deadline = deadline
        self.told: list[float] = []
        self._watched = deadlines

    def on_deadline(self) -> None:
        self.told.append(self._watched.loop.now)
        self._watched.streams.discard(self)


class Watched:
    """Deadlines, and the streams that are open."""

    def __init__(self) -> None:
        self.loop = ManualLoop()
        self.streams: set[Stream] = set()
        self.deadlines = Deadlines(self.loop.as_loop(), lambda: self.streams, self.loop.time)

    def open(self, deadline: float) -> Waiting:
        stream = Waiting(self, deadline)
        self.streams.add(stream)
        self.deadlines.watch(deadline)
        return stream


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 10)), min_size=1, max_size=60))
def test_told_in_time(opened: list[tuple[float, float]]) -> None:
    """Each stream is told once, not before its deadline and at most 10 ms after, with one timer for all of them."""
    watched = Watched()
    streams = []
    for pause, timeout in opened:
        watched.loop.advance(pause)
        streams.append(watched.open(watched.loop.now + timeout))
        assert watched.loop.timers <= 1
    watched.loop.advance(11.0)
    for stream in streams:
        (told,) = stream.told
        assert -1e-9 <= told - stream.deadline <= 0.01
    assert watched.loop.timers == 0


def test_sweeps_are_not_too_many() -> None:
    """A thousand deadlines within a second take at most 200 sweeps, however they lie."""
    watched = Watched()
    streams = [watched.open(1.0 + number / 1000) for number in range(1000)]
    watched.loop.advance(3.0)
    assert len({stream.told[0] for stream in streams}) <= 201


def test_a_stream_that_ended_before() -> None:
    """A stream that has gone is not told; the timer then sleeps."""
    watched = Watched()
    stream = watched.open(5.0)
    watched.streams.discard(stream)
    watched.loop.advance(10.0)
    assert stream.told == []
    assert watched.deadlines.next_sweep == math.inf


def test_streams_that_go_while_others_are_told() -> None:
    """A stream whose end takes others with it, or opens new ones, breaks nothing."""
    watched = Watched()

    class Taking(Waiting):
        def on_deadline(self) -> None:
            super().on_deadline()
            watched.streams.clear()
            watched.open(self.deadline + 1.0)

    taking = Taking(watched, 1.0)
    watched.streams.add(taking)
    watched.deadlines.watch(1.0)
    later = watched.open(1.5)
    watched.loop.advance(1.2)
    assert taking.told == [1.0]
    (new,) = watched.streams
    watched.loop.advance(1.0)
    assert later.told == []
    assert isinstance(new, Waiting)
    assert new.told == [2.0]


def test_one_that_raises() -> None:
    """An error at one deadline is told to the loop, and the other streams get theirs."""
    watched = Watched()

    class Failing(Waiting):
        def on_deadline(self) -> None:
            super().on_deadline()
            raise ValueError("broken")

    failing = [Failing(watched, 1.0) for _ in range(3)]
    watched.streams.update(failing)
    others = [watched.open(1.0), watched.open(2.0)]
    watched.loop.advance(3.0)
    assert all(len(stream.told) == 1 for stream in (*failing, *others))
    assert len(watched.loop.unhandled) == 3


def test_closed() -> None:
    """After the end nothing is watched."""
    watched = Watched()
    stream = watched.open(1.0)
    watched.deadlines.close()
    watched.deadlines.watch(0.5)
    watched.loop.advance(5.0)
    assert stream.told == []
    assert watched.loop.timers == 0

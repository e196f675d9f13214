"""When a connection stops reading from its peer, by a clock that the test moves."""

import asyncio

from hasten.rpc._limits import Limits
from hasten.rpc.transport._reading import Reading
from tests.rpc._fakes import ManualLoop, MemoryTransport


class Watched:
    """Reading, with a transport in memory."""

    def __init__(self, **limits: int) -> None:
        self.loop = ManualLoop()
        self.transport = MemoryTransport(self.loop.as_loop(), asyncio.Protocol())
        self.reading = Reading(self.loop.as_loop(), Limits(**limits), self.loop.time)  # type: ignore[arg-type]
        self.reading.connect(self.transport)

    def reads(self) -> bool:
        return self.transport.reading

    def rests(self) -> bool:
        return self.reading.paused


def test_headers_are_paid_for() -> None:
    """Within the budget of a second nothing happens; what is beyond is waited for."""
    watched = Watched(decoded_header_bytes_per_second=1000)
    watched.reading.charge_work(1000)
    assert watched.reads()
    watched.reading.charge_work(500)
    assert not watched.reads()
    watched.loop.advance(0.49)
    assert watched.rests()
    watched.loop.advance(0.02)
    assert watched.reads()
    assert not watched.rests()


def test_all_headers_of_a_read_are_paid_for() -> None:
    """Headers behind the first too many, which stood in the same read, are paid as well, with one timer for all."""
    watched = Watched(decoded_header_bytes_per_second=1000)
    for _ in range(100):
        watched.reading.charge_work(100)
    assert watched.loop.timers == 1
    watched.loop.advance(8.99)
    assert not watched.reads()
    watched.loop.advance(0.02)
    assert watched.reads()
    assert watched.loop.timers == 0


def test_a_connection_that_goes_while_it_rests() -> None:
    """When the connection has gone no timer goes on."""
    watched = Watched(decoded_header_bytes_per_second=1)
    watched.reading.charge_work(1_000_000)
    watched.transport.abort()
    watched.loop.advance(1.0)
    assert watched.loop.timers == 0
    assert not watched.reads()


def test_headers_that_are_never_paid() -> None:
    """A budget of nothing is never paid, and is no error."""
    watched = Watched(decoded_header_bytes_per_second=0)
    watched.reading.charge_work(1)
    watched.loop.advance(1000.0)
    assert not watched.reads()


def test_replies() -> None:
    """As many replies as allowed may wait; one more stops the reading until the socket has taken them."""
    watched = Watched(control_frames=10)
    for _ in range(10):
        watched.reading.charge_reply()
    assert watched.reads()
    watched.reading.charge_reply()
    assert not watched.reads()
    watched.reading.forgive_replies()
    assert watched.reads()


def test_two_reasons() -> None:
    """Reading goes on when the last reason is gone."""
    watched = Watched(control_frames=0, decoded_header_bytes_per_second=100)
    watched.reading.charge_work(200)
    watched.reading.charge_reply()
    watched.loop.advance(1.01)
    assert not watched.reads()
    watched.reading.forgive_replies()
    assert watched.reads()

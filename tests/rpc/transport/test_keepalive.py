"""When a silent peer is asked, and when it is given up."""

from hasten.rpc._limits import Limits
from hasten.rpc.transport._keepalive import Keepalive
from tests.rpc._fakes import ManualLoop


class Watched:
    """A keepalive, and what it has done.

    Attributes:
      pings: When it sent one.
      given_up: When it gave the peer up; None before.
    """

    def __init__(self, *, is_used: bool = True, seconds: float = 30.0, always: bool = False) -> None:
        self.loop = ManualLoop()
        self.is_used = is_used
        self.pings: list[float] = []
        self.given_up: float | None = None
        limits = Limits(keepalive_seconds=seconds, keepalive_timeout_seconds=5.0, keepalive_without_calls=always)
        self.keepalive = Keepalive(
            self.loop.as_loop(),
            limits,
            lambda _: self.pings.append(self.loop.now),
            lambda: self.is_used,
            self._give_up,
        )
        self.keepalive.start()

    def _give_up(self) -> None:
        self.given_up = self.loop.now


def test_a_silent_peer() -> None:
    """A peer is asked after the silence, and given up when nothing has come within the timeout."""
    watched = Watched()
    watched.loop.advance(34.0)
    assert (watched.pings, watched.given_up) == ([30.0], None)
    watched.loop.advance(2.0)
    assert (watched.pings, watched.given_up) == ([30.0], 35.0)


def test_a_peer_that_answers() -> None:
    """A peer that answers is asked again after as long a silence, not sooner: it counts too many PINGs."""
    watched = Watched()
    for _ in range(10):
        pings = len(watched.pings)
        watched.loop.advance(30.0)
        assert len(watched.pings) == pings + 1
        watched.keepalive.reads += 1
        watched.keepalive.answered()
    assert watched.given_up is None
    assert watched.pings == [30.0 * number for number in range(1, 11)]


def test_a_peer_that_sends_something_else() -> None:
    """Anything that comes within the timeout is a sign of life."""
    watched = Watched()
    watched.loop.advance(31.0)
    watched.keepalive.reads += 1
    watched.loop.advance(33.0)
    assert (watched.pings, watched.given_up) == ([30.0], None)
    watched.loop.advance(1.0)
    assert watched.pings == [30.0, 65.0]


def test_a_busy_peer() -> None:
    """While something comes nothing is asked."""
    watched = Watched()
    for _ in range(100):
        watched.keepalive.reads += 1
        watched.loop.advance(29.0)
    assert watched.pings == []


def test_without_calls() -> None:
    """While no call is open nothing is asked, unless that is wanted."""
    watched = Watched(is_used=False)
    watched.loop.advance(100.0)
    assert watched.pings == []
    watched.is_used = True
    watched.loop.advance(30.0)
    assert watched.pings == [120.0]
    always = Watched(is_used=False, always=True)
    always.loop.advance(31.0)
    assert always.pings == [30.0]


def test_no_keepalive() -> None:
    """Without a bound on the silence no timer is set; one that is closed has none either."""
    watched = Watched(seconds=0.0)
    assert watched.loop.timers == 0
    closed = Watched()
    closed.keepalive.close()
    assert closed.loop.timers == 0
    watched.keepalive.answered()
    assert watched.loop.timers == 0

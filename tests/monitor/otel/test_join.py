"""A span and its account come together, in whatever order they are looked at; neither holds up the other."""

import math

import pytest

from hasten._core.signals import CallFinished, EventHandled, EventPublished
from hasten.ledger import Account, Kind, Line, Site
from hasten.monitor.otel._join import Join
from hasten.monitor.otel._patient import Patient
from hasten.monitor.otel._spans import Finished, HttpEnded
from tests.monitor.test_trace import TRACEPARENT

BEGAN = 1000.0


def request(recorded: float = math.inf) -> Finished:
    """Return a request that has ended, and that the ledger has recorded since then."""
    ended = HttpEnded("GET", "/", "/", "http", "1.1", "", "", "", 200, 0.01, TRACEPARENT, "", "", recorded)
    return Finished(2_000_000_000_000_000_000, ended)


def account(started: float, *lines: Line) -> Account:
    """Return a request's account, its lines one after the other."""
    timeline = tuple((at, line.seconds) for at, line in enumerate(lines))
    return Account("shop", "GET /", "/", "", 200, started, 0.01, 0.0, lines, timeline)


def test_a_request_gets_the_lines_of_its_own_account() -> None:
    """It waits, beside others that the ledger has not recorded, and leaves with an event for each line."""
    join = Join()
    join.turn()
    plain, recorded = request(), request(BEGAN)
    assert list(join.through([recorded, plain, account(BEGAN + 1.0)])) == [plain]
    assert len(join) == 1
    lines = Line(Kind.COMPUTING, Site("/shop/app.py", 7, "buy"), 0.004, 1), Line(Kind.WAITING, Site(), 0.006, 2)
    (sent,) = join.through([account(BEGAN, *lines)])
    assert [event.name for event in sent.events] == ["computing buy", "waiting"]
    assert len(join) == 0


@pytest.mark.parametrize(
    "what",
    [
        CallFinished("server", "/t.T/Quote", "", "first", "OK", 0.01, 1, 1, TRACEPARENT, "", BEGAN),
        EventHandled("orders.paid", "mail", 1, True, 0.01, 0.0, TRACEPARENT, "", BEGAN),  # noqa: FBT003
    ],
)
def test_calls_and_messages_do_too(what: CallFinished | EventHandled) -> None:
    """One that the ledger has recorded waits for its account; a publishing has none to wait for."""
    join = Join()
    join.turn()
    recorded = Finished(2_000_000_000_000_000_000, what)
    published = Finished(2_000_000_000_000_000_000, EventPublished("orders.paid", True, 0.01, 1, TRACEPARENT))  # noqa: FBT003
    assert list(join.through([recorded, published])) == [published]
    (sent,) = join.through([account(BEGAN, Line(Kind.WAITING, Site("/shop/app.py", 7, "quote"), 0.01, 1))])
    assert [event.name for event in sent.events] == ["waiting quote"]


def test_a_request_whose_account_does_not_come() -> None:
    """It is sent two sendings later, without events, once."""
    join = Join()
    join.turn()
    assert list(join.through([request(BEGAN)])) == []
    assert join.late() == []
    join.turn()
    assert join.late() == []
    join.turn()
    assert join.late() == [request(BEGAN)]
    assert join.late() == []


def test_at_the_end_nothing_waits() -> None:
    """What has no account by then is sent without."""
    join = Join()
    join.turn()
    assert list(join.through([request(BEGAN)])) == []
    join.end()
    assert join.late() == [request(BEGAN)]


def test_an_account_that_comes_too_late_is_left() -> None:
    """Its request has gone; nothing is sent for it."""
    join = Join()
    assert list(join.through([account(BEGAN)])) == []


def test_things_that_are_made_bit_by_bit_are_all_made() -> None:
    """As a list of them would be: each once, in their order, when they are looked at."""
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return 2 * number

    numbers = Patient(range(20), make)
    assert made == []
    assert list(numbers) == [2 * number for number in range(20)]
    assert made == list(range(20))
    assert (len(numbers), numbers[3]) == (20, 6)

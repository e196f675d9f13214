"""Summaries of endpoints against hand-made accounts."""

import pytest

from hasten.diagnose._diagnosis import EndpointSummary
from hasten.diagnose._evidence import Evidence
from hasten.diagnose._summary import LARGEST_LINES, summarize
from hasten.ledger import Account, Kind
from tests.diagnose.accounts import (
    Stretch,
    account,
    computed,
    site,
    thread_queued,
    threaded,
    traffic,
    unread,
    varied,
    waited,
)

HANDLER = site("read", 10)
CALL = site("read", 12, library="httpx.AsyncClient.get")


def summary(accounts: list[Account]) -> EndpointSummary:
    """Return the summary of the only endpoint of `accounts`."""
    (endpoint,) = Evidence(accounts).endpoints
    return summarize(endpoint)


def test_percentiles_are_of_the_response_time() -> None:
    """Mean, percentiles and the largest are of wall plus unread time."""
    found = summary(varied(100, lambda number: (unread(0.001), computed(0.001 * number, HANDLER))))
    assert found.requests == 100
    assert found.mean == pytest.approx(0.0505)
    assert [found.p50, found.p90, found.p99] == pytest.approx([0.050, 0.090, 0.099])
    assert found.largest == pytest.approx(0.100)


def test_failures_are_server_errors_and_missing_answers() -> None:
    """A 5xx status or no response at all is a failure; what the client got wrong is none."""
    found = summary([account(computed(0.001, HANDLER), status=status) for status in (200, 404, 500, 503, 0)])
    assert found.failed == 3


def test_kinds_add_up_to_the_mean() -> None:
    """Each kind that occurs has its mean and its mean among the slowest, in the order of Kind."""
    found = summary(
        varied(
            100,
            lambda number: (
                computed(0.002, HANDLER),
                waited(0.010 if number else 0.500, CALL),
                unread(0.001),
            ),
        )
    )
    assert [kind.kind for kind in found.kinds] == [Kind.COMPUTING, Kind.WAITING, Kind.UNREAD]
    assert sum(kind.mean for kind in found.kinds) == pytest.approx(found.mean)
    assert [kind.tail for kind in found.kinds] == pytest.approx([0.002, 0.500, 0.001])


def test_a_line_counts_as_zero_where_a_request_has_none() -> None:
    """Percentiles of a line are over all requests of the endpoint."""
    found = summary(varied(100, lambda number: (computed(0.010, HANDLER), *[waited(0.040, CALL)] * (number < 20))))
    waiting = found.lines[1]
    assert waiting.kind is Kind.WAITING
    assert waiting.mean == pytest.approx(0.008)
    assert (waiting.p50, waiting.p99) == (0.0, 0.040)
    assert waiting.share == pytest.approx(8 / 18)
    assert waiting.count == pytest.approx(0.2)


def test_the_largest_lines_are_shown() -> None:
    """Twenty lines, the largest mean first."""
    parts = tuple(computed(0.001 * number, site("read", number)) for number in range(1, 31))
    found = summary(traffic(2, *parts))
    assert len(found.lines) == LARGEST_LINES
    assert [line.site.line for line in found.lines[:3]] == [30, 29, 28]


def test_coverage_is_of_requests_that_take_their_time() -> None:
    """Requests under 1 ms are not judged; with none above, coverage is full."""
    unknown = Stretch(Kind.UNEXPLAINED, site("", 0, file=""), 0.002)
    found = summary([account(unknown, computed(0.006, HANDLER)), account(unknown._replace(seconds=0.0005))])
    assert (found.coverage_median, found.coverage_p5) == pytest.approx((0.75, 0.75))
    short = summary([account(unknown._replace(seconds=0.0005))])
    assert (short.coverage_median, short.coverage_p5) == (1.0, 1.0)


def test_threads_have_their_own_kinds() -> None:
    """Queueing for a thread and running in it stand apart."""
    function = site("load", 5)
    found = summary(traffic(3, thread_queued(0.002, function), threaded(0.004, function)))
    means = {kind.kind: kind.mean for kind in found.kinds}
    assert means == pytest.approx({Kind.THREAD_QUEUED: 0.002, Kind.THREAD: 0.004})

"""Rows of a waterfall: each below what it is within, at the time when it was, whatever services have told."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.tracing import asked_traceparent, span_id_of
from hasten.ledger import Account, Kind, Line, Site
from hasten.monitor import Part, Work
from hasten.waterfall import Sent, Waterfall, build

BOOT = "this"
TRACEPARENT = asked_traceparent()
CLIENT = span_id_of(TRACEPARENT)
SENT = Sent(
    method="GET",
    url="http://shop/items/7",
    traceparent=TRACEPARENT,
    status=200,
    started=1000.0,
    first_byte=0.09,
    seconds=0.1,
    size_bytes=12,
)


def work(span: str, parent: str = CLIENT, **said: object) -> Work:
    settings = {"kind": "request", "name": f"work {span}", "outcome": "200", "started": 1000.01, "seconds": 0.08}
    return msgspec.convert({"span": span, "parent": parent, **settings, **said}, Work)


def part(*works: Work, service: str = "shop", boot: str = BOOT) -> Part:
    return Part(service=service, worker="0", boot=boot, works=works)


def shown(waterfall: Waterfall) -> list[tuple[int, str, str]]:
    return [(row.depth, row.service, row.name) for row in waterfall.rows]


def test_each_is_below_what_it_is_within() -> None:
    """A request is below the client, its calls below it in their order, and what they led to below them."""
    front = part(
        work("b", "a", kind="call", name="/t.T/Second", started=1000.04),
        work("c", "a", kind="call", name="/t.T/First", started=1000.02),
        work("a", name="GET /items/{item}"),
    )
    back = part(work("d", "c", kind="served", name="/t.T/First", started=1000.021), service="stock")
    assert shown(build(SENT, [back, front], BOOT)) == [
        (0, "client", "GET http://shop/items/7"),
        (1, "shop", "GET /items/{item}"),
        (2, "shop", "/t.T/First"),
        (3, "stock", "/t.T/First"),
        (2, "shop", "/t.T/Second"),
    ]


def test_of_one_machine_clocks_are_the_same() -> None:
    """A row stands at the time when its work began, seen from the client's sending."""
    row = build(SENT, [part(work("a"))], BOOT).rows[1]
    assert row.bars[0].start == pytest.approx(0.01)
    assert not row.placed


def test_of_another_machine_it_is_in_the_middle() -> None:
    """Work of a machine with another clock stands in the middle of what it is within, what it led to beside it."""
    far = part(work("a", started=7.0), work("b", "a", kind="call", started=7.02, seconds=0.01), boot="other")
    rows = build(SENT, [far], BOOT).rows
    assert rows[1].placed
    assert rows[1].bars[0].start == pytest.approx(0.01)  # 80 ms within 100
    assert rows[2].bars[0].start == pytest.approx(0.03)


def account(*lines: tuple[Kind, Site, float], timeline: tuple[tuple[int, float], ...]) -> Account:
    return Account(
        service="shop",
        endpoint="GET /items/{item}",
        target="/items/7",
        request_id="",
        status=200,
        started=1000.01,
        wall=0.08,
        unread=0.0,
        lines=tuple(Line(kind, site, seconds, 1) for kind, site, seconds in lines),
        timeline=timeline,
    )


def test_an_account_is_below_its_request() -> None:
    """Where the time of a request went stands below it, each line with the stretches that it took."""
    query = Site("/app/orders.py", 41, "orders", "asyncpg.Connection.fetch", "Future")
    own = Site("/app/orders.py", 44, "orders")
    told = account(
        (Kind.WAITING, query, 0.06),
        (Kind.COMPUTING, own, 0.02),
        timeline=((1, 0.01), (0, 0.03), (0, 0.03), (1, 0.01)),
    )
    rows = build(SENT, [part(msgspec.structs.replace(work("a"), account=told))], BOOT).rows[2:]
    assert [(row.kind, row.name) for row in rows] == [
        ("waiting", "/app/orders.py:41 orders · asyncpg.Connection.fetch"),
        ("computing", "/app/orders.py:44 orders"),
    ]
    assert rows[0].bars[0].start == pytest.approx(0.02)
    assert len(rows[0].bars) == 1
    assert rows[0].bars[0].seconds == pytest.approx(0.06)
    assert [bar.start for bar in rows[1].bars] == [pytest.approx(0.01), pytest.approx(0.08)]


def test_small_lines_are_one() -> None:
    """Lines below a hundredth of the request's time are added up, and none is lost."""
    sites = [Site("/app/orders.py", line, "orders") for line in range(1, 60)]
    lines = [(Kind.WAITING, sites[0], 0.07)] + [(Kind.COMPUTING, site, 0.01 / 58) for site in sites[1:]]
    told = account(*lines, timeline=tuple((index, line[2]) for index, line in enumerate(lines)))
    rows = build(SENT, [part(msgspec.structs.replace(work("a"), account=told))], BOOT).rows[2:]
    assert [row.name for row in rows] == ["/app/orders.py:1 orders", "58 smaller"]
    assert sum(row.seconds for row in rows) == pytest.approx(0.08)


def test_what_was_not_told_is_said() -> None:
    """That the service that was asked has told nothing, or no service where the time went, is noted."""
    assert build(SENT, [part(work("a"))], BOOT).notes[0].startswith("No service has said where the time")
    assert build(SENT, [part(work("b", "f" * 16))], BOOT).notes[0].startswith("The service that was asked")


def test_work_behind_the_response_is_in_the_picture() -> None:
    """A message that is handled later makes the picture longer than the request."""
    late = part(work("a"), work("b", "a", kind="handled", name="orders.paid", started=1000.3, seconds=0.05))
    assert build(SENT, [late], BOOT).seconds == pytest.approx(0.35)


spans = st.sampled_from("abcdef")


@given(st.lists(st.builds(work, spans, st.one_of(spans, st.just(CLIENT)), started=st.floats(0, 1e6)), max_size=12))
def test_whatever_is_told_each_work_is_shown_once_at_most(works: list[Work]) -> None:
    """Works that are told twice, within each other or within nothing make no endless picture."""
    waterfall = build(SENT, [part(*works)], BOOT)
    names = [row.name for row in waterfall.rows[1:]]
    assert len(names) == len(set(names))
    assert all(math.isfinite(bar.start) for row in waterfall.rows for bar in row.bars)

"""The index over accounts: costs, shares, victims, samples and calls against hand-made accounts."""

import pytest

from hasten.diagnose._evidence import OWN, Cost, EndpointEvidence, Evidence, place_of, quantiles
from hasten.diagnose._finding import Severity
from hasten.ledger import Account, Kind, Line, Site
from tests.diagnose.accounts import (
    APP,
    ENDPOINT,
    SERVICE,
    account,
    blocked,
    computed,
    held,
    site,
    traffic,
    unread,
    varied,
    waited,
)

HANDLER = site("read", 10)
CALL = site("read", 12, library="httpx.AsyncClient.get", leaf="asyncio.Event.wait")
OTHER_LEAF = site("read", 12, library="httpx.AsyncClient.get", leaf="Future")


def only(accounts: list[Account]) -> EndpointEvidence:
    """Return the only endpoint of `accounts`."""
    (endpoint,) = Evidence(accounts).endpoints
    return endpoint


def is_waiting(line: Line) -> bool:
    """Match waits."""
    return line.kind is Kind.WAITING


def test_accounts_are_grouped_by_service_and_endpoint() -> None:
    """Each endpoint of each service stands for itself, the one with the largest total time first."""
    evidence = Evidence(
        traffic(2, computed(0.001, HANDLER), endpoint="GET /a")
        + traffic(3, computed(0.004, HANDLER), endpoint="GET /a", service="stock")
        + traffic(1, computed(0.003, HANDLER), endpoint="GET /b")
    )
    assert [endpoint.name for endpoint in evidence.endpoints] == [
        "stock GET /a",
        "shop GET /b",
        "shop GET /a",
    ]
    assert evidence.services == ("shop", "stock")
    assert [endpoint.endpoint for endpoint in evidence.of_service("shop")] == ["GET /b", "GET /a"]
    found = evidence.endpoint("stock", "GET /a")
    assert found is evidence.endpoints[0]
    assert evidence.endpoint("stock", "GET /b") is None


def test_nothing_recorded_is_no_evidence() -> None:
    """Without accounts there are no endpoints and no visits."""
    evidence = Evidence([])
    assert evidence.endpoints == ()
    assert evidence.visits(APP, "read") == ()


def test_response_time_includes_unread_time() -> None:
    """Mean, percentiles and the slowest requests are those of wall plus unread time."""
    endpoint = only(varied(100, lambda number: (unread(0.001 * number), computed(0.001, HANDLER))))
    assert endpoint.mean == pytest.approx(0.0505)
    assert endpoint.p50 == pytest.approx(0.050)
    assert endpoint.p99 == pytest.approx(0.099)
    assert [slow.unread for slow in endpoint.slowest] == [pytest.approx(0.099)]


def test_a_cost_is_the_mean_over_all_requests() -> None:
    """Seconds and counts are per request, whether or not it has the line; hurt counts those that do."""
    endpoint = only(varied(10, lambda number: (computed(0.010, HANDLER), *[waited(0.030, CALL)] * (number % 2) * 2)))
    cost = endpoint.cost(is_waiting)
    assert cost.seconds == pytest.approx(0.030)
    assert cost.share_mean == pytest.approx(0.75)
    assert cost.share_p99 == pytest.approx(60 / 70)
    assert cost.hurt == 5
    assert cost.count == pytest.approx(1.0)
    assert endpoint.cost(lambda line: line.kind is Kind.THREAD) == Cost()


def test_one_request_with_two_matching_lines_is_hurt_once() -> None:
    """Requests are counted, not lines."""
    endpoint = only(traffic(4, waited(0.010, CALL), waited(0.010, OTHER_LEAF)))
    assert endpoint.cost(is_waiting).hurt == 4


def test_the_share_of_the_slowest_is_theirs_alone() -> None:
    """A stall of one request in 100 is 1 % of the mean's requests but most of the p99's time."""
    endpoint = only(varied(100, lambda number: (computed(0.001, HANDLER), *[blocked(0.099, CALL)] * (number == 7))))
    cost = endpoint.cost(lambda line: line.kind is Kind.BLOCKING)
    assert cost.hurt == 1
    assert cost.share_mean == pytest.approx(0.099 / 0.199)
    assert cost.share_p99 == pytest.approx(0.99)


def test_what_a_rule_works_out_costs_the_same_way() -> None:
    """Seconds by request give the cost that lines with these seconds would give."""
    endpoint = only(varied(10, lambda number: (computed(0.010, HANDLER), *[waited(0.030, CALL)] * (number % 2))))
    by_request = dict.fromkeys(range(1, 10, 2), 0.030)
    assert endpoint.cost_where(by_request) == endpoint.cost(is_waiting)
    assert endpoint.cost_where({}) == Cost()


def test_own_time_of_a_function_is_exact() -> None:
    """Computing and blocking of the function count, other functions and waits do not."""
    endpoint = only(
        traffic(2, computed(0.002, HANDLER), blocked(0.003, site("read", 40)), computed(0.004, site("write", 10)))
    )
    assert endpoint.own_time(APP, "read").seconds == pytest.approx(0.005)
    assert endpoint.own_time(APP, "other") == Cost()


def test_own_time_of_lines_follows_the_samples() -> None:
    """Of the function's exact time, lines get the share of its samples that fell on them."""
    seen = ((site("read", 20), 3), (site("read", 30), 1), (site("write", 20), 9))
    endpoint = only([account(computed(0.008, HANDLER), samples=seen)])
    assert endpoint.own_time(APP, "read", {20, 21}).seconds == pytest.approx(0.006)
    assert endpoint.own_time(APP, "read", {99}) == Cost(count=1.0)


def test_own_time_of_lines_without_samples_is_where_steps_ended() -> None:
    """When the watchdog never saw the function, the lines at which its steps ended are all that is known."""
    endpoint = only([account(computed(0.002, HANDLER), computed(0.003, site("read", 20)))])
    assert endpoint.own_time(APP, "read", [20]).seconds == pytest.approx(0.003)


def test_victims_are_other_endpoints_of_the_same_loop() -> None:
    """Held and unread requests count, those of the payer itself and of other services do not."""
    evidence = Evidence(
        traffic(5, computed(0.050, HANDLER), held(0.020, HANDLER), endpoint="GET /slow")
        + traffic(3, held(0.020, HANDLER), endpoint="GET /a")
        + traffic(2, unread(0.020, HANDLER), held(0.020, HANDLER), endpoint="GET /b")
        + traffic(4, held(0.020, site("other", 1)), endpoint="GET /c")
        + traffic(6, held(0.020, HANDLER), service="stock")
    )
    payer = evidence.endpoint(SERVICE, "GET /slow")
    assert payer is not None
    victims = evidence.victims(lambda holder: holder == HANDLER, payer)
    assert victims == {"shop GET /a": 3, "shop GET /b": 2}
    assert evidence.delayed(lambda holder: holder == HANDLER, payer).hurt == 5


def test_visits_are_of_those_who_ran_not_of_those_who_waited() -> None:
    """An endpoint visits a function in which it has time, samples or calls; a holder's line is no visit."""
    elsewhere = computed(0.001, site("elsewhere"))
    sampled = account(elsewhere, samples=((HANDLER, 1),), endpoint="GET /sampled")
    runs = traffic(9, computed(0.001, HANDLER), endpoint="GET /runs")
    calls = traffic(1, waited(0.001, CALL), endpoint="GET /calls")
    waits = traffic(1, held(0.001, HANDLER), unread(0.001, HANDLER), endpoint="GET /waits")
    evidence = Evidence([sampled, *runs, *calls, *waits])
    assert {endpoint.endpoint for endpoint in evidence.visits(APP, "read")} == {
        "GET /runs", "GET /sampled", "GET /calls",
    }  # fmt: skip
    assert evidence.visits("/elsewhere.py", "read") == ()


def test_a_comprehension_is_part_of_its_function() -> None:
    """Up to Python 3.11 comprehensions have frames of their own; their time is the function's."""
    inside = site("read.<locals>.<listcomp>.<locals>.<genexpr>", 11)
    assert place_of(inside) == (APP, "read")
    endpoint = only(traffic(1, computed(0.002, HANDLER), computed(0.003, inside)))
    assert endpoint.own_time(APP, "read").seconds == pytest.approx(0.005)
    assert place_of(site("<listcomp>", 3)) == (APP, "<listcomp>")


def test_calls_stand_by_site_without_the_leaf() -> None:
    """Calls that were suspended in different places of the library are of one site; requests stay apart."""
    twice = account(waited(0.1, CALL, "a"), waited(0.1, OTHER_LEAF, "b"), started=100.0)
    endpoint = only([twice, account(waited(0.1, CALL, "a"), started=101.0)])
    (where,) = endpoint.calls
    assert where == Site(APP, 12, "read", "httpx.AsyncClient.get")
    assert endpoint.calls[where] == ((0, "a"), (0, "b"), (1, "a"))


def test_matching_is_asked_once_for_each_distinct_line() -> None:
    """A question goes through the distinct sites, however many requests there are."""
    endpoint = only(traffic(500, computed(0.001, HANDLER), waited(0.002, CALL)))
    asked: list[Line] = []
    endpoint.cost(lambda line: bool(asked.append(line)))  # type: ignore[func-returns-value]
    assert [(line.kind, line.count) for line in asked] == [(Kind.WAITING, 500), (Kind.COMPUTING, 500)]
    assert asked[0].seconds == pytest.approx(1.0)


def test_order_of_reading_does_not_matter() -> None:
    """Accounts stand in order of their start, whatever the order they came in."""
    accounts = varied(20, lambda number: (computed(0.001 * (number + 1), HANDLER),))
    assert only(accounts[::-1]).accounts == only(accounts).accounts == tuple(accounts)


@pytest.mark.parametrize(
    ("share_mean", "share_p99", "victims", "expected"),
    [
        (0.10, 0.0, {}, Severity.HIGH),
        (0.0, 0.10, {}, Severity.HIGH),
        (0.02, 0.0, {}, Severity.MEDIUM),
        (0.0, 0.099, {}, Severity.MEDIUM),
        (0.019, 0.019, {}, Severity.LOW),
        (0.001, 0.0, {"shop GET /a": 1}, Severity.HIGH),
    ],
)
def test_severity_follows_the_shares_and_the_victims(
    share_mean: float, share_p99: float, victims: dict[str, int], expected: Severity
) -> None:
    """Ten per cent or a victim is high, two per cent medium."""
    assert Cost(share_mean=share_mean, share_p99=share_p99).severity(victims) is expected


def test_quantiles_are_values_that_occur() -> None:
    """A quantile is the smallest value that the share does not exceed; nothing gives zeros."""
    assert quantiles([1.0, 2.0, 3.0, 4.0], (0.0, 0.5, 0.75, 0.76, 1.0)) == [1.0, 2.0, 3.0, 4.0, 4.0]
    assert quantiles([], (0.5,)) == [0.0]


def test_own_kinds_are_those_that_hold_the_loop() -> None:
    """Computing and blocking hold the loop; the collector's time is told apart."""
    assert frozenset({Kind.COMPUTING, Kind.BLOCKING}) == OWN


def test_the_builder_makes_accounts_that_add_up() -> None:
    """Accounts for tests keep the promises of `Account`: lines add up to wall plus unread time."""
    made = account(unread(0.5), computed(0.25, HANDLER), waited(0.125, CALL, "x"), computed(0.25, HANDLER))
    assert (made.endpoint, made.wall, made.unread) == (ENDPOINT, 0.625, 0.5)
    assert sum(line.seconds for line in made.lines) == 1.125
    assert [made.lines[index].kind for index, _ in made.timeline] == ["computing", "waiting", "computing"]
    assert made.calls[0].identity == "x"
    assert made.samples == ((HANDLER, 100),)

"""Statistics hold what was recorded in bounded memory."""

from hasten.ledger import Account, Kind, Site
from hasten.ledger._attribution import KIND_OF, KINDS
from hasten.ledger._sites import SiteTable
from hasten.ledger._statistics import MOST_ENDPOINTS, MOST_LINES, OTHER, Statistics


def account(endpoint: str, wall: float) -> Account:
    return Account("test", endpoint, "/", "", 200, 0.0, wall, 0.0, (), ())


def add(statistics: Statistics, endpoint: str, wall: float, lines: dict[int, float]) -> None:
    if statistics.add(endpoint, wall, lines.items()):
        statistics.keep(endpoint, wall, account(endpoint, wall))


def key(kind: Kind, site: int) -> int:
    return site * KINDS + KIND_OF.index(kind)


def table(count: int) -> SiteTable:
    sites = SiteTable()
    sites.sites.extend(Site("/app.py", line, "f") for line in range(count))
    return sites


def test_a_snapshot_adds_up_per_endpoint_and_line() -> None:
    """Requests, seconds and the lines' p50 and p99 are those that were added."""
    statistics = Statistics(table(4))
    for number in range(100):
        add(statistics, "GET /", 0.01 + number / 1000, {key(Kind.WAITING, 4): 0.01, key(Kind.HELD, 5): number / 1000})

    (endpoint,) = statistics.snapshot()
    assert endpoint.requests == 100
    assert abs(endpoint.seconds - sum(0.01 + number / 1000 for number in range(100))) < 1e-9
    held, waiting = endpoint.lines
    assert (held.kind, held.site.line, waiting.kind, waiting.requests) == (Kind.HELD, 2, Kind.WAITING, 100)
    assert abs(held.p99 - 0.098) < 0.001
    assert abs(waiting.p50 - 0.01) < 0.0001


def test_the_slowest_requests_are_kept_as_examples() -> None:
    """Five exemplars, slowest first; an account is made for a candidate only."""
    statistics = Statistics(table(0))
    kept = []
    for number in [*range(100, 0, -1), 200]:
        if statistics.add("GET /", float(number), ()):
            kept.append(number)
            statistics.keep("GET /", number, account("GET /", number))

    assert [exemplar.wall for exemplar in statistics.snapshot()[0].exemplars] == [200, 100, 99, 98, 97]
    assert kept == [100, 99, 98, 97, 96, 200]


def test_sites_are_bounded_and_nothing_is_lost() -> None:
    """Of 10,000 sites the largest 50 are named; the seconds of all others stand under other."""
    statistics = Statistics(table(10_000))
    total = 0.0
    for site in range(3, 10_003):
        seconds = 10.0 if site == 5000 else 1 / site
        total += seconds
        add(statistics, "GET /", seconds, {key(Kind.WAITING, site): seconds})

    (endpoint,) = statistics.snapshot()
    assert len(endpoint.lines) == MOST_LINES
    assert endpoint.lines[0].seconds == 10.0
    assert abs(sum(line.seconds for line in endpoint.lines) + endpoint.other - total) < 1e-6


def test_endpoints_are_bounded() -> None:
    """Random paths beyond the bound are counted together."""
    statistics = Statistics(table(0))
    for number in range(10_000):
        add(statistics, f"GET /{number}", 0.001, {})

    snapshot = statistics.snapshot()
    assert len(snapshot) == MOST_ENDPOINTS + 1
    assert sum(endpoint.requests for endpoint in snapshot) == 10_000
    assert OTHER in {endpoint.endpoint for endpoint in snapshot}

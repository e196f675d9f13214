"""HS304: calls that a cache would answer."""

import pytest

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.rules.repeated_call import LEAST_CALLS, WINDOW, RepeatedCall
from hasten.ledger import Account
from tests.diagnose.accounts import APP, cached, computed, site, traffic, varied, waited

HANDLER = site("read", 10)
RATES = site("rates", 22, library="httpx.AsyncClient.get", leaf="asyncio.Event.wait")


def findings(accounts: list[Account]) -> list[Finding]:
    """Return what the rule finds in `accounts` alone."""
    return list(RepeatedCall().findings(Evidence(accounts), ()))


def test_the_same_question_again_and_again_is_found() -> None:
    """All but the first call of a window repeat it; the time they waited is what a cache saves."""
    (found,) = findings(traffic(100, computed(0.010, HANDLER), waited(0.030, RATES, "url='/rates'")))
    assert (found.file, found.function, found.line) == (APP, "rates", 22)
    assert found.hurt == 99
    assert found.seconds == pytest.approx(0.030 * 0.99)
    assert found.share_mean == pytest.approx(0.75 * 0.99)
    assert found.severity is Severity.HIGH
    assert found.proof.startswith("99 of 100 calls of httpx.AsyncClient.get (99%) repeated one")


def test_questions_to_a_cache_are_no_repetition() -> None:
    """What is asked of a cache again and again is cached already."""
    wait = cached(0.030, site("rates", 22, library="cache GET redis localhost:6379"), "rates")
    assert findings(traffic(100, computed(0.010, HANDLER), wait)) == []


def test_answers_are_kept_for_a_window_only() -> None:
    """Equal calls further apart than the window are made anew."""
    apart = traffic(LEAST_CALLS + 5, waited(0.030, RATES, "url='/rates'"), every=WINDOW + 1)
    assert findings(apart) == []


def test_different_questions_are_no_repetition() -> None:
    """When fewer than half of the calls repeat one, a cache does not pay."""
    mostly_new = varied(100, lambda number: (waited(0.030, RATES, f"url='/rates/{min(number, 60)}'"),))
    assert findings(mostly_new) == []


def test_repetition_within_one_request_counts() -> None:
    """The same call twice in one request is answered once."""
    (found,) = findings(
        varied(
            30,
            lambda number: (
                waited(0.010, RATES, f"url='/{number}'"),
                waited(0.010, RATES, f"url='/{number}'"),
            ),
        )
    )
    assert found.hurt == 30
    assert found.seconds == pytest.approx(0.010)


def test_one_site_is_one_cache_for_all_endpoints() -> None:
    """An answer that one endpoint's request loaded serves the other's; each endpoint has its finding."""
    first = traffic(50, waited(0.010, RATES, "url='/rates'"), endpoint="GET /a", first=100.0)
    second = traffic(50, waited(0.010, RATES, "url='/rates'"), endpoint="GET /b", first=100.01)
    hurt = {found.endpoint: found.hurt for found in findings(first + second)}
    assert hurt == {"GET /a": 49, "GET /b": 50}


def test_services_share_no_cache() -> None:
    """What another process asked does not help."""
    accounts = [
        each
        for number in range(60)
        for each in traffic(1, waited(0.010, RATES, "url='/rates'"), service=f"shop-{number % 20}", first=100 + number)
    ]
    assert findings(accounts) == []


def test_few_calls_prove_nothing() -> None:
    """Under 20 calls a share is chance."""
    assert findings(traffic(LEAST_CALLS - 1, waited(0.030, RATES, "url='/rates'"))) == []


def test_a_saving_that_does_not_matter_is_not_reported() -> None:
    """Repeated calls of 0.2 % of the time are left alone."""
    assert findings(traffic(50, computed(0.0998, HANDLER), waited(0.0002, RATES, "url='/rates'"))) == []


@pytest.mark.parametrize(
    ("library", "identity"),
    [
        ("httpx.AsyncClient.post", "url='/orders'"),
        ("httpx.AsyncClient.request", "method='POST', url='/orders'"),
        ("asyncpg.Connection.execute", "query='  INSERT INTO orders VALUES (1)'"),
        ("asyncio.sleep", "delay=0.1"),
        ("aiohttp.ClientResponse.json", "content_type='application/json'"),
        ("asyncpg.connect", "dsn='postgresql://db'"),
        ("httpx.AsyncClient.get", ""),
    ],
)
def test_only_reads_can_be_kept(library: str, identity: str) -> None:
    """Writes, sleeps, connections, bodies already there and unknown arguments are no data to keep."""
    where = site("write", 30, library=library)
    assert findings(traffic(50, waited(0.030, where, identity))) == []

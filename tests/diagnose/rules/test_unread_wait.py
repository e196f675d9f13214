"""HS103: requests that wait for a line that holds the loop."""

import pytest

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.rules.unread_wait import UnreadWait
from hasten.ledger import Account, Site
from tests.diagnose.accounts import APP, computed, held, site, traffic, unread, varied

HANDLER = site("read", 10)
JOB = site("refresh", 70)


def findings(accounts: list[Account]) -> list[Finding]:
    """Return what the rule finds in `accounts` alone."""
    return list(UnreadWait().findings(Evidence(accounts), ()))


def test_a_background_job_is_found_by_those_who_waited() -> None:
    """The finding stands at the holder's line, at the endpoint that lost most, with the others as victims."""
    much = varied(
        10,
        lambda number: (*[unread(0.040, JOB), held(0.010, JOB)] * (number < 4), computed(0.005, HANDLER)),
        endpoint="GET /a",
    )
    little = traffic(2, held(0.030, site("refresh", 72)), computed(0.001, HANDLER), endpoint="GET /b")
    (found,) = findings(much + little)
    assert (found.file, found.function, found.line) == (APP, "refresh", 70)
    assert found.endpoint == "GET /a"
    assert found.seconds == pytest.approx(0.020)
    assert found.share_mean == pytest.approx(0.8)
    assert found.hurt == 4
    assert found.victims == {"shop GET /b": 2}
    assert found.severity is Severity.HIGH
    assert found.proof.startswith("4 of 10 requests waited 50 ms each")
    assert found.proof.endswith("4 of them lay unread in the kernel")


def test_requests_that_do_not_wait_give_nothing() -> None:
    """Healthy requests hold no finding."""
    assert findings(traffic(5, computed(0.005, HANDLER))) == []


def test_waits_within_the_kernels_clock_step_do_not_count() -> None:
    """Waits under 8 ms cannot be told from the clock's coarseness."""
    assert findings(traffic(5, unread(0.004, JOB), computed(0.005, HANDLER))) == []


def test_an_unknown_holder_has_no_place() -> None:
    """Unread time of which nobody knows the holder stays in the summary alone."""
    assert findings(traffic(5, unread(0.050), held(0.020, Site()), computed(0.005, HANDLER))) == []


def test_services_do_not_hold_each_other() -> None:
    """The same source line in two services gives a finding for each loop."""
    found = findings(
        traffic(2, held(0.020, JOB)) + traffic(3, held(0.030, JOB), service="stock", endpoint="GET /stock")
    )
    assert [(each.service, each.hurt, each.victims) for each in found] == [("shop", 2, {}), ("stock", 3, {})]

"""HS104: pauses of the garbage collector."""

import pytest

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.rules.garbage_collection import GarbageCollection
from hasten.ledger import Account, Site
from tests.diagnose.accounts import collected, computed, site, traffic, varied

HANDLER = site("read", 10)


def findings(accounts: list[Account]) -> list[Finding]:
    """Return what the rule finds in `accounts` alone."""
    return list(GarbageCollection().findings(Evidence(accounts), ()))


def test_pauses_that_make_the_tail_are_found() -> None:
    """Requests of which one in a hundred pays 45 ms have their p99 from it; the line is named."""
    (found,) = findings(
        varied(
            300,
            lambda number: (
                computed(0.005, HANDLER),
                *[collected(0.045, site("build", 20))] * (number % 100 == 50),
            ),
        )
    )
    assert (found.function, found.line) == ("build", 20)
    assert found.share_p99 == pytest.approx(0.9)
    assert found.share_mean == pytest.approx(0.045 / 0.545)
    assert found.hurt == 3
    assert found.severity is Severity.HIGH
    assert "45 ms in one of them" in found.proof


def test_small_collections_are_no_finding() -> None:
    """Young collections of 1 % of the time are the price of objects."""
    assert findings(traffic(100, computed(0.0099, HANDLER), collected(0.0001, HANDLER))) == []


def test_one_slow_request_is_no_tail() -> None:
    """Of few requests the slowest 1 % is one, which says nothing about the collector."""
    rare = varied(100, lambda number: (computed(0.005, HANDLER), *[collected(0.010, HANDLER)] * (number == 50)))
    assert findings(rare) == []
    assert findings(traffic(2, computed(0.005, HANDLER), collected(0.010, HANDLER))) == []


def test_one_finding_a_service() -> None:
    """The collector belongs to the process: the endpoint that loses most stands for all others."""
    (found,) = findings(
        traffic(10, computed(0.010, HANDLER), collected(0.010, HANDLER), endpoint="GET /a")
        + traffic(5, computed(0.010, HANDLER), collected(0.010, HANDLER), endpoint="GET /b")
    )
    assert found.endpoint == "GET /a"
    assert found.victims == {"shop GET /b": 5}


def test_a_pause_in_library_code_stands_at_the_busiest_line() -> None:
    """When no user line was on the stack, the line that computes most is where objects are made."""
    nowhere = Site(library="pydantic.BaseModel.model_validate")
    (found,) = findings(
        traffic(3, computed(0.004, HANDLER), computed(0.001, site("write", 5)), collected(0.010, nowhere))
    )
    assert (found.function, found.line) == ("read", 10)
    assert findings(traffic(3, collected(0.010, nowhere))) == []

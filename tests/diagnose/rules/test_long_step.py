"""HS102: long computing steps."""

import pytest

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.rules.long_step import SERIALISATION, LongStep
from hasten.ledger import Account, Site
from tests.diagnose.accounts import (
    APP,
    blocked,
    collected,
    computed,
    held,
    preempted,
    site,
    traffic,
    varied,
    waited,
)

LOOP = site("rank", 30)
CALL = site("read", 12, library="httpx.AsyncClient.get")


def findings(accounts: list[Account]) -> list[Finding]:
    """Return what the rule finds in `accounts` alone."""
    return list(LongStep().findings(Evidence(accounts), ()))


def test_a_long_computation_is_found_where_it_runs() -> None:
    """The finding names the line that took most, the shares, who paid and who waited."""
    slow = varied(
        10,
        lambda number: (
            (
                computed(0.001, CALL),
                waited(0.009, CALL),
                computed(0.030, LOOP),
                computed(0.060, site("rank", 32)),
            )
            if number % 2
            else (waited(0.010, CALL),)
        ),
        endpoint="GET /slow",
    )
    fast = traffic(4, held(0.050, site("rank", 32)), computed(0.001, CALL), endpoint="GET /fast")
    (found,) = findings(slow + fast)
    assert (found.file, found.function, found.line) == (APP, "rank", 32)
    assert (found.service, found.endpoint) == ("shop", "GET /slow")
    assert found.seconds == pytest.approx(0.045)
    assert found.share_mean == pytest.approx(0.45 / 0.55)
    assert found.share_p99 == pytest.approx(0.9)
    assert found.hurt == 5
    assert found.victims == {"shop GET /fast": 4}
    assert found.severity is Severity.HIGH
    assert found.proof.startswith("5 of 10 requests computed 20 ms or more in one step, 90 ms at most")


def test_short_steps_are_no_long_step() -> None:
    """Many short steps of the same sum give way between them and hold nobody."""
    assert findings(traffic(5, *[computed(0.010, LOOP), waited(0.001, CALL)] * 9)) == []


def test_a_step_over_several_lines_is_one() -> None:
    """A step that the samples split over lines and functions counts as a whole, at its largest function."""
    parts = [
        computed(0.006, site("rank", 30)),
        computed(0.008, site("rank", 31)),
        computed(0.007, site("read", 9)),
    ]
    (found,) = findings(traffic(3, *parts))
    assert (found.function, found.line) == ("rank", 31)
    assert found.seconds == pytest.approx(0.014)


def test_a_collection_within_a_step_does_not_end_it() -> None:
    """The collector's pause in the middle belongs to the step."""
    (found,) = findings(traffic(2, computed(0.012, LOOP), collected(0.004, LOOP), computed(0.012, LOOP)))
    assert found.seconds == pytest.approx(0.028)


def test_waiting_for_a_core_does_not_end_a_step() -> None:
    """A step that the kernel interrupts is still one step, and only its computing counts."""
    (found,) = findings(traffic(2, computed(0.012, LOOP), preempted(0.030, LOOP), computed(0.012, LOOP)))
    assert found.seconds == pytest.approx(0.024)


def test_a_blocking_call_is_not_computing() -> None:
    """Time in which the thread slept belongs to the blocking-call rule."""
    assert findings(traffic(3, blocked(0.100, LOOP), computed(0.002, LOOP))) == []


def test_serialisation_stands_at_the_function_that_returned() -> None:
    """Long work of the framework without user code on its stack is placed at the user's line before it."""
    encoding = Site(library="fastapi.serialize_response", leaf="pydantic.SchemaSerializer.to_python")
    after_wait = traffic(2, waited(0.010, CALL), computed(0.050, encoding), endpoint="GET /a")
    (found,) = findings(after_wait)
    assert (found.function, found.line, found.title) == ("read", 12, SERIALISATION)
    assert found.fix != LongStep.fix
    same_step = traffic(2, computed(0.002, site("read", 20)), computed(0.050, encoding), endpoint="GET /a")
    (found,) = findings(same_step + traffic(1, held(0.030, encoding), endpoint="GET /b"))
    assert (found.function, found.line, found.title) == ("read", 20, SERIALISATION)
    assert found.victims == {"shop GET /b": 1}


def test_work_without_a_place_is_not_reported() -> None:
    """Library work that no user line leads to has no line to point at."""
    assert findings(traffic(2, computed(0.050, Site(library="numpy.dot")))) == []


def test_a_comprehension_counts_to_its_function() -> None:
    """On Python 3.11 a list comprehension has its own frame; the finding names the function around it."""
    (found,) = findings(traffic(2, computed(0.050, site("rank.<locals>.<listcomp>", 30))))
    assert found.function == "rank"

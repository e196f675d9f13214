"""HS201: queueing for a thread."""

import pytest

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.rules.thread_pool_queue import ThreadPoolQueue
from hasten.ledger import Account, Site
from tests.diagnose.accounts import APP, computed, site, thread_queued, threaded, traffic, varied

HANDLER = site("read", 10)
LOAD = site("load", 5)


def findings(accounts: list[Account]) -> list[Finding]:
    """Return what the rule finds in `accounts` alone."""
    return list(ThreadPoolQueue().findings(Evidence(accounts), ()))


def test_a_full_pool_is_found_at_the_function_handed_over() -> None:
    """The queue's share, who waited, and how many functions ran at once are told."""
    (found,) = findings(
        varied(
            20,
            lambda number: (thread_queued(0.100 if number >= 10 else 0.0001, LOAD), threaded(0.100, LOAD)),
            every=0.001,
        )
    )
    assert (found.file, found.function, found.line) == (APP, "load", 5)
    assert found.hurt == 10
    assert found.seconds == pytest.approx(0.050)
    assert found.share_p99 == pytest.approx(0.5)
    assert found.severity is Severity.HIGH
    assert found.proof.startswith("10 of 20 requests waited 10 ms or more for a thread, 100 ms at most")
    assert found.proof.endswith("up to 10 functions ran in threads at once")


def test_a_hand_over_is_no_queue() -> None:
    """A free thread that takes half a millisecond to start is the price of a hop, not a queue."""
    assert findings(traffic(50, thread_queued(0.0005, LOAD), threaded(0.0005, LOAD))) == []


def test_a_single_hiccup_is_no_queue() -> None:
    """One or two late starts may be the operating system's."""
    rare = varied(50, lambda number: (thread_queued(0.050 if number < 2 else 0.0001, LOAD), threaded(0.001, LOAD)))
    assert findings(rare) == []


def test_waiting_for_a_core_is_no_queue() -> None:
    """While fewer functions run than the smallest pool has threads, a thread was free."""
    lonely = traffic(20, thread_queued(0.030, LOAD), threaded(0.001, LOAD), every=0.1)
    assert findings(lonely) == []


def test_library_functions_have_no_place() -> None:
    """A library's own function, such as a file read, stands nowhere in the user's code."""
    nowhere = Site(library="starlette.FileResponse.stat")
    assert findings(traffic(5, computed(0.001, HANDLER), thread_queued(0.050, nowhere))) == []

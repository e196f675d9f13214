"""HS203: waits at locks, semaphores and pools."""

import pytest

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.rules.lock_wait import LOCKS, POOLS, QUEUES, LockWait
from hasten.ledger import Account, Site
from tests.diagnose.accounts import APP, computed, site, traffic, varied, waited

HANDLER = site("read", 10)
LOCK = site("read", 14, library="asyncio.Lock.__aenter__", leaf="asyncio.Lock.acquire")


def findings(accounts: list[Account]) -> list[Finding]:
    """Return what the rule finds in `accounts` alone."""
    return list(LockWait().findings(Evidence(accounts), ()))


def test_contention_at_a_lock_is_found() -> None:
    """The line that takes the lock is named, with the requests that waited."""
    (found,) = findings(varied(10, lambda number: (computed(0.010, HANDLER), *[waited(0.040, LOCK)] * (number % 2))))
    assert (found.file, found.function, found.line) == (APP, "read", 14)
    assert found.hurt == 5
    assert found.seconds == pytest.approx(0.020)
    assert found.share_mean == pytest.approx(2 / 3)
    assert found.share_p99 == pytest.approx(0.8)
    assert found.severity is Severity.HIGH
    assert found.proof == "5 of 10 requests were suspended in asyncio.Lock.acquire for 1 ms or more, 40 ms at most"
    assert found.title == "Requests wait for each other at a lock"


@pytest.mark.parametrize("leaf", sorted(LOCKS))
def test_plain_locks_count_in_user_code(leaf: str) -> None:
    """A lock that the user's code takes is found; below a library it guards the library's own state."""
    taken = site("read", 14, library=leaf.rpartition(".")[0] + ".__aenter__", leaf=leaf)
    assert len(findings(traffic(3, waited(0.010, taken)))) == 1
    assert findings(traffic(3, waited(0.010, site(library="httpx.AsyncClient.get", leaf=leaf)))) == []


@pytest.mark.parametrize("leaf", sorted(POOLS | QUEUES))
def test_every_known_pool_is_found(leaf: str) -> None:
    """Each semaphore, pool and queue of the table is recognised by the leaf, below any library."""
    assert len(findings(traffic(3, waited(0.010, site(library="mylib.Client.get", leaf=leaf))))) == 1


def test_a_pool_is_named() -> None:
    """A queue below a driver is the driver's pool."""
    pool = site("read", 20, library="asyncpg.Pool.acquire", leaf="asyncio.Queue.get")
    (found,) = findings(traffic(3, waited(0.010, pool)))
    assert found.title == "Requests wait for a connection of the asyncpg pool"
    queue = site("read", 20, library="asyncio.Queue.get")
    (found,) = findings(traffic(3, waited(0.010, queue)))
    assert found.title == "Requests wait at a queue"


def test_waiting_for_an_answer_is_no_lock() -> None:
    """A read from a socket, a sleep and an event are not waits for another request."""
    others = [
        site(library="httpx.AsyncClient.get", leaf="asyncio.Event.wait"),
        site(library="asyncio.sleep"),
        site(library="asyncio.Event.wait"),
    ]
    assert findings(traffic(3, *[waited(0.050, other) for other in others])) == []


def test_a_hand_over_is_no_contention() -> None:
    """Waits under 1 ms are what it takes to pass the lock on."""
    assert findings(traffic(9, computed(0.001, HANDLER), waited(0.0005, LOCK))) == []


def test_a_lock_of_the_framework_has_no_place() -> None:
    """A lock below no user code cannot be pointed at."""
    assert findings(traffic(3, waited(0.010, Site(library="starlette.X.y", leaf="asyncio.Lock.acquire")))) == []

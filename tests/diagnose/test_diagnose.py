"""From accounts to a ranked diagnosis: joining, dropping, ranking, predicting."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.diagnose import Diagnosis, Finding, Module, Severity, diagnose
from hasten.diagnose.rules import RULES
from hasten.ledger import Account, Site
from tests.diagnose.accounts import (
    blocked,
    computed,
    held,
    queued,
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
LOCK = site("read", 14, library="asyncio.Lock.__aenter__", leaf="asyncio.Lock.acquire")
LOOP = site("rank", 30)


def summary(diagnosis: Diagnosis) -> list[tuple[str, str, int]]:
    """Return code, function and line of each finding."""
    return [(found.code, found.function, found.line) for found in diagnosis.findings]


def only(accounts: Sequence[Account], modules: Sequence[Module] = ()) -> Finding:
    """Return the only finding."""
    (found,) = diagnose(accounts, modules).findings
    return found


def source(folder: Path, text: str) -> Module:
    """Return a parsed source file."""
    file = folder / "app.py"
    file.write_text(text)
    return Module.parse(file)


def test_healthy_requests_have_no_finding() -> None:
    """Short steps, one call, a little queueing: where the time goes is told, and nothing is blamed."""
    healthy = varied(
        200,
        lambda number: (computed(0.001, HANDLER), waited(0.010, CALL, f"url='/{number}'"), queued(0.0002)),
    )
    diagnosis = diagnose(healthy, ())
    assert diagnosis.findings == ()
    assert diagnosis.services == ("shop",)
    assert [endpoint.requests for endpoint in diagnosis.endpoints] == [200]


def test_nothing_recorded_is_nothing_found() -> None:
    """No accounts, no diagnosis."""
    assert diagnose([], ()) == Diagnosis((), (), ())


def test_the_rules_stand_in_the_order_of_their_codes() -> None:
    """Fifteen rules, each code and name once."""
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert len(codes) == 15
    assert len({rule.name for rule in RULES}) == 15
    assert all(rule.fix and len(rule.fix) <= 110 for rule in RULES)


def test_a_long_step_takes_those_who_waited_as_its_victims() -> None:
    """The unread wait at the holder's line is no finding of its own; the fix frees the victims."""
    slow = traffic(40, computed(0.050, LOOP), waited(0.001, CALL), endpoint="GET /slow", every=0.2)
    fast = varied(
        40,
        lambda number: (*[unread(0.030, site("rank", 38))] * (number % 2), computed(0.002, HANDLER)),
        endpoint="GET /fast",
        every=0.2,
        first=100.02,
    )
    found = only(slow + fast)
    assert (found.code, found.function, found.line) == ("HS102", "rank", 30)
    assert found.victims == {"shop GET /fast": 20}
    assert found.severity is Severity.HIGH
    assert found.prediction is not None
    assert found.prediction.p50_before == pytest.approx(0.051)
    assert found.prediction.p50_after == pytest.approx(0.051)  # who gains are the victims


def test_one_line_in_several_endpoints_is_one_finding() -> None:
    """The endpoint that loses most stands for all; requests of the others count as victims."""
    accounts = traffic(10, computed(0.001, HANDLER), waited(0.050, LOCK), endpoint="GET /a")
    accounts += traffic(5, computed(0.001, HANDLER), waited(0.060, LOCK), endpoint="GET /b")
    found = only(accounts)
    assert (found.code, found.endpoint, found.hurt, found.victims) == (
        "HS203",
        "GET /a",
        10,
        {"shop GET /b": 5},
    )


def test_two_lines_of_one_function_are_two_findings() -> None:
    """Locks on neighbouring lines are different locks."""
    other = site("read", 15, library="asyncio.Lock.__aenter__", leaf="asyncio.Lock.acquire")
    diagnosis = diagnose(traffic(10, waited(0.050, LOCK), waited(0.020, other)), ())
    assert summary(diagnosis) == [("HS203", "read", 14), ("HS203", "read", 15)]


def test_a_hold_sampled_on_several_lines_is_one_finding() -> None:
    """The same loop seen at its first line from one endpoint and at its second from another is one cause."""
    accounts = traffic(10, computed(0.050, LOOP), endpoint="GET /a")
    accounts += traffic(5, computed(0.050, site("rank", 32)), endpoint="GET /b")
    assert only(accounts).line == 30


def test_what_does_not_show_is_dropped() -> None:
    """A finding under half a per cent of mean and p99 is left out, unless it made others wait."""
    small = varied(
        1000,
        lambda number: (waited(0.500, CALL, f"{number}"), *[waited(0.002, LOCK)] * (number % 2)),
        every=1,
    )
    assert diagnose(small, ()).findings == ()
    rare = varied(
        1000,
        lambda number: (*[computed(0.020, LOOP)] * (number == 500), waited(0.500, CALL, f"{number}")),
        every=1,
        endpoint="GET /slow",
    )
    assert diagnose(rare, ()).findings == ()
    victim = traffic(1, held(0.019, LOOP), computed(0.001, HANDLER), endpoint="GET /fast")
    assert only(rare + victim).victims == {"shop GET /fast": 1}


def test_the_worst_comes_first() -> None:
    """Severity first, then the seconds lost over all requests, victims included."""
    locks = traffic(100, waited(0.050, CALL), waited(0.004, LOCK), endpoint="GET /medium")
    pools = traffic(10, thread_queued(0.050, site("load", 5)), threaded(0.300, site("load", 5)), endpoint="GET /high")
    steps = traffic(5, computed(0.030, LOOP), waited(0.050, CALL), endpoint="GET /stall")
    waits = traffic(100, computed(0.010, HANDLER), held(0.030, LOOP), endpoint="GET /victim")
    diagnosis = diagnose(locks + pools + steps + waits, ())
    assert [found.code for found in diagnosis.findings] == ["HS102", "HS201", "HS203"]
    assert [found.severity for found in diagnosis.findings] == [Severity.HIGH, Severity.HIGH, Severity.MEDIUM]
    assert diagnosis.endpoints[0].endpoint == "GET /medium"


def test_services_are_diagnosed_together() -> None:
    """Each service has its own loop and its own replay."""
    accounts = traffic(10, computed(0.050, LOOP), endpoint="GET /a", service="shop")
    accounts += traffic(10, waited(0.040, site("fetch", 8, library="asyncio.Lock.acquire")), service="stock")
    diagnosis = diagnose(accounts, ())
    assert diagnosis.services == ("shop", "stock")
    assert {(found.service, found.code) for found in diagnosis.findings} == {
        ("shop", "HS102"),
        ("stock", "HS203"),
    }


BLOCKING = """\
import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/slow")
async def slow():
    total = sum(range(1_000_000))
    time.sleep(0.05)
    return {"total": total}
"""


def test_a_blocking_call_explains_the_long_step_at_its_line(tmp_path: Path) -> None:
    """What computes next to the blocking call is not a second finding; far away in the function it is."""
    module = source(tmp_path, BLOCKING)
    asleep = Site(module.file, 11, "slow", "", "")
    near = Site(module.file, 12, "slow", "", "")
    accounts = traffic(20, blocked(0.050, asleep), computed(0.021, near), endpoint="GET /slow", every=0.5)
    accounts += traffic(10, held(0.040, asleep), computed(0.001, HANDLER), endpoint="GET /fast")
    found = only(accounts, [module])
    assert (found.code, found.function, found.line) == ("HS101", "slow", 11)
    assert found.victims == {"shop GET /fast": 10}
    assert found.prediction is not None
    far = Site(module.file, 40, "slow", "", "")
    both = diagnose(traffic(20, blocked(0.050, asleep), computed(0.021, far), endpoint="GET /slow"), [module])
    assert {found.code for found in both.findings} == {"HS101", "HS102"}


def test_source_without_requests_proves_nothing(tmp_path: Path) -> None:
    """A trap in code that no recorded request went through is no finding."""
    module = source(tmp_path, BLOCKING)
    assert diagnose(traffic(20, computed(0.001, HANDLER), waited(0.010, CALL)), [module]).findings == ()


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_accounts_does_not_matter(shuffling: random.Random) -> None:
    """Read in any order, the same accounts give the same diagnosis."""
    accounts = traffic(10, computed(0.030, LOOP), waited(0.020, LOCK), endpoint="GET /a")
    accounts += varied(10, lambda number: (held(0.001 * number + 0.008, LOOP), waited(0.010, LOCK)), endpoint="GET /b")
    shuffled = list(accounts)
    shuffling.shuffle(shuffled)
    assert diagnose(shuffled, ()) == diagnose(accounts, ())

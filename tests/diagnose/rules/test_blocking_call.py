"""HS101: blocking calls that held the loop while requests waited."""

from pathlib import Path

import pytest

from hasten.diagnose._finding import Severity
from hasten.diagnose.rules.blocking_call import BlockingCall
from tests.diagnose.accounts import blocked, computed, held, site, traffic, waited
from tests.diagnose.sources import Source

TEXT = """
import requests, sqlite3, time
from fastapi import FastAPI
app = FastAPI()
db = sqlite3.connect("shop")

@app.post("/orders")
async def order(price: int):
    total = price * 2
    paid = requests.post("http://pay", json={"total": total}, timeout=1)
    return paid.json()

@app.get("/reviews")
async def reviews():
    recent = db.execute("select recent").fetchall()
    average = db.execute(
        "select average"
    ).fetchone()
    return render(recent, average)

def render(recent, average):
    time.sleep(0.001)
    return [recent, average]
"""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Return a service with three blocking calls, one of them in a helper."""
    return Source(BlockingCall(), tmp_path, TEXT)


def test_candidates_name_the_line_that_blocks(source: Source) -> None:
    """The helper's line is named, with its own function, and who calls it."""
    found = {(each.line, each.function, each.callee) for each in source.candidates}
    assert found == {
        (source.line("requests.post"), "order", "requests.post"),
        (source.line("select recent"), "reviews", "sqlite3.Connection.execute"),
        (source.line("average = db.execute"), "reviews", "sqlite3.Connection.execute"),
        (source.line("time.sleep"), "render", "time.sleep"),
    }
    assert "time.sleep blocks the event loop, called by async reviews" in {each.message for each in source.candidates}


def test_a_sleeping_thread_proves_the_call(source: Source) -> None:
    """Blocked time with samples on the line is a finding, and those who waited are its victims."""
    call = source.site("requests.post", library="requests.post")
    orders = traffic(10, computed(0.002, source.site("return paid")), blocked(0.030, call), endpoint="POST /orders")
    others = traffic(4, held(0.020, call), computed(0.001, site("read", 10)), endpoint="GET /fast")
    (found,) = source.findings(orders + others)
    assert (found.file, found.line, found.function) == (source.file, source.line("requests.post"), "order")
    assert found.title == "requests.post blocks the event loop"
    assert (found.endpoint, found.hurt) == ("POST /orders", 10)
    assert found.seconds == pytest.approx(0.032)
    assert found.victims == {"shop GET /fast": 4}
    assert found.severity is Severity.HIGH


def test_calls_of_one_client_in_a_function_are_one_cause(source: Source) -> None:
    """Two queries in one function are one finding, at the line the samples saw most."""
    quick, slow = source.site("select recent"), source.site("average = db.execute")
    accounts = traffic(10, computed(0.010, quick), computed(0.040, slow), endpoint="GET /reviews")
    (found,) = source.findings(accounts)
    assert found.line == slow.line
    assert found.seconds == pytest.approx(0.050)
    assert found.severity is Severity.HIGH


def test_a_call_that_took_no_time_is_not_found(source: Source) -> None:
    """A candidate whose function ran without holding the loop at that line is no finding."""
    fast = traffic(10, computed(0.001, source.site("return paid")), waited(0.050, site("other", 3)))
    assert source.findings(fast) == []
    elsewhere = traffic(10, computed(0.030, source.site("total = price")))
    assert source.findings(elsewhere) == []
    assert source.findings(traffic(10, computed(0.030, site("read", 10)))) == []


def test_a_short_blocking_call_is_proven_by_the_idle_thread(source: Source) -> None:
    """Without samples, time in which the thread slept within the function counts."""
    (found,) = source.findings(traffic(10, blocked(0.004, source.site("return [recent"))))
    assert (found.function, found.line) == ("render", source.line("time.sleep"))

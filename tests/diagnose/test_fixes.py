"""What each fix does to one request's critical path, through the replay."""

import pytest

from hasten.diagnose._cause import Cause
from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose._fixes import HAND_OVER, fix_for
from hasten.diagnose._replay import Replay, Segment
from hasten.diagnose._rule import Candidate
from hasten.diagnose.rules.long_step import SERIALISATION
from hasten.ledger import Account, Kind, Site
from tests.diagnose.accounts import (
    APP,
    ENDPOINT,
    SERVICE,
    Stretch,
    account,
    blocked,
    collected,
    computed,
    held,
    preempted,
    site,
    thread_queued,
    threaded,
    traffic,
    waited,
)

HANDLER = site("read", 10)
CALL = site("read", 12, library="httpx.AsyncClient.get")
ENCODING = Site(library="fastapi.serialize_response")


def cause(
    accounts: list[Account],
    code: str,
    line: int = 10,
    *,
    seconds: float = 0.0,
    function: str = "read",
    title: str = "",
    candidate: Candidate | None = None,
) -> Cause:
    """Return a finding of `code` in these accounts of one endpoint, as its fix sees it."""
    evidence = Evidence(accounts)
    finding = Finding(
        code=code,
        title=title,
        severity=Severity.HIGH,
        file=APP,
        line=line,
        function=function,
        service=SERVICE,
        endpoint=ENDPOINT,
        seconds=seconds,
    )
    return Cause(finding, evidence.endpoints[0], evidence, candidate)


def trap(code: str, *lines: int, runs: tuple[tuple[tuple[str, str], ...], ...] = ()) -> Candidate:
    """Return a candidate of `code` on these lines of `read`."""
    return Candidate(code=code, file=APP, line=lines[0], function="read", message="", lines=lines, runs=runs)


def after(found: Cause) -> list[Segment] | None:
    """Return the critical path of the first request after the fix."""
    fix = fix_for(found)
    assert fix is not None
    return fix(found.endpoint.accounts[0])


def spent(path: list[Segment] | None) -> dict[Kind, float]:
    """Return the seconds of a path by kind."""
    sums: dict[Kind, float] = {}
    for kind, _, seconds in path or []:
        sums[kind] = sums.get(kind, 0.0) + seconds
    return {kind: seconds for kind, seconds in sums.items() if seconds > 1e-12}


@pytest.mark.parametrize("code", ["HS101", "HS102"])
def test_a_step_moves_off_the_loop(code: str) -> None:
    """The time near the line becomes a wait of the same length plus a hand-over; other own time stays."""
    path = [
        computed(0.002, site("read", 40)),
        blocked(0.050, site("read", 11)),
        computed(0.001, site("write", 11)),
    ]
    moved = after(cause(traffic(3, *path), code, 10, seconds=0.050))
    assert spent(moved) == pytest.approx({Kind.COMPUTING: 0.003, Kind.THREAD: 0.050 + HAND_OVER})


def test_preempted_time_goes_with_the_computing() -> None:
    """A step off the loop takes along the time it waited for a core."""
    path = [computed(0.040, HANDLER), preempted(0.010, HANDLER)]
    moved = after(cause(traffic(3, *path), "HS102", 10, seconds=0.040))
    assert spent(moved) == pytest.approx({Kind.THREAD: 0.050 + 2 * HAND_OVER})


def test_short_steps_lose_their_part_of_the_function() -> None:
    """Where no step ended near the line, the finding's seconds are taken from the function in proportion."""
    path = [computed(0.006, site("read", 40)), waited(0.010, CALL), computed(0.002, site("read", 50))]
    moved = after(cause(traffic(3, *path), "HS101", 10, seconds=0.004))
    assert spent(moved) == pytest.approx(
        {Kind.COMPUTING: 0.004, Kind.WAITING: 0.010, Kind.THREAD: 0.004 + 2 * HAND_OVER}
    )


def test_requests_without_the_place_stay_as_they_are() -> None:
    """A fix leaves other requests alone."""
    found = cause(traffic(2, blocked(0.050, HANDLER)), "HS101", seconds=0.050)
    fix = fix_for(found)
    assert fix is not None
    assert fix(account(blocked(0.050, site("write", 10)))) is None


def test_serialisation_moves_off_the_loop() -> None:
    """A long step of the framework is the framework's time, not that of the function before it."""
    found = cause(
        traffic(2, computed(0.004, HANDLER), computed(0.030, ENCODING)),
        "HS102",
        seconds=0.030,
        title=SERIALISATION,
    )
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.004, Kind.THREAD: 0.030 + HAND_OVER})


def test_moving_a_step_frees_the_others() -> None:
    """The replay's victims get faster too: the loop is free while the thread works."""
    slow = traffic(20, blocked(0.050, HANDLER), every=0.1)
    fast = traffic(
        20,
        computed(0.001, site("fast", 60)),
        held(0.030, HANDLER),
        every=0.1,
        first=100.02,
        endpoint="GET /fast",
    )
    found = cause(slow + fast, "HS101", seconds=0.050)
    fix, victim = fix_for(found), found.evidence.endpoint(SERVICE, "GET /fast")
    assert fix is not None
    assert victim is not None
    prediction = Replay(found.evidence.endpoints).predict(victim, fix)
    assert prediction is not None
    assert prediction.p50_before == pytest.approx(0.031)
    assert prediction.p50_after == pytest.approx(0.001)


def test_full_collections_go_and_young_ones_stay() -> None:
    """Freezing what start-up made spares long pauses, not the short ones."""
    path = [
        computed(0.002, HANDLER),
        collected(0.040, HANDLER),
        computed(0.002, HANDLER),
        collected(0.0005, CALL),
    ]
    assert spent(after(cause(traffic(2, *path), "HS104"))) == pytest.approx(
        {Kind.COMPUTING: 0.004, Kind.COLLECTING: 0.0005}
    )


def test_a_queue_for_threads_goes() -> None:
    """With a thread for each, only the queue's time goes."""
    path = [thread_queued(0.080, site("load", 5)), threaded(0.010, site("load", 5)), computed(0.001, HANDLER)]
    freed = after(cause(traffic(2, *path), "HS201", 5, function="load"))
    assert spent(freed) == pytest.approx({Kind.THREAD: 0.010, Kind.COMPUTING: 0.001})


def test_a_short_dependency_runs_on_the_loop() -> None:
    """Made async it costs its own time, for which the least seen in a thread stands, and no hop."""
    load = site("load", 5)
    accounts = [
        account(thread_queued(0.002, load), threaded(seconds, load), started=100 + seconds)
        for seconds in (0.004, 0.0003, 0.001)
    ]
    found = cause(accounts, "HS202", 5, function="load")
    fix = fix_for(found)
    assert fix is not None
    assert spent(fix(found.endpoint.accounts[-1])) == pytest.approx({Kind.COMPUTING: 0.0003})


def test_a_slow_dependency_stays_in_its_thread() -> None:
    """One that really blocks would hold the loop: only its queue is saved."""
    load = site("load", 5)
    found = cause(traffic(2, thread_queued(0.002, load), threaded(0.020, load)), "HS202", 5, function="load")
    assert spent(after(found)) == pytest.approx({Kind.THREAD: 0.020})


def test_a_batch_waits_as_long_as_one_call() -> None:
    """Of n calls one wait of the mean length is left, and the own time after the last."""
    round_trip = [waited(0.006, CALL), computed(0.001, HANDLER)]
    path = [computed(0.002, HANDLER), *round_trip * 9, waited(0.016, CALL), computed(0.003, HANDLER)]
    found = cause(traffic(2, *path), "HS301", 12)
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.005, Kind.WAITING: 0.007})


def test_a_batch_leaves_other_calls_in_the_loop() -> None:
    """Another call in the same loop keeps its waits and the own time that follows them."""
    other = site("read", 14, library="httpx.AsyncClient.get")
    path = [waited(0.006, CALL), computed(0.001, HANDLER), waited(0.004, other), computed(0.002, HANDLER)] * 3
    assert spent(after(cause(traffic(2, *path), "HS301", 12))) == pytest.approx(
        {Kind.COMPUTING: 0.007, Kind.WAITING: 0.018}
    )


def test_calls_in_a_function_below_are_batched() -> None:
    """Where the loop calls a function of the project, its sites are the calls."""
    below = site("load", 90, library="httpx.AsyncClient.get")
    candidate = trap("HS301", 12, runs=(((APP, "load"),),))
    found = cause(traffic(2, *[waited(0.005, below)] * 4), "HS301", 12, candidate=candidate)
    assert spent(after(found)) == pytest.approx({Kind.WAITING: 0.005})


def test_blocking_calls_in_a_loop_have_no_prediction() -> None:
    """The accounts do not tell one blocking call from the next."""
    assert fix_for(cause(traffic(2, blocked(0.050, HANDLER)), "HS301")) is None


def test_one_call_needs_no_batch() -> None:
    """A request that made one call is left as it is."""
    assert after(cause(traffic(2, waited(0.005, CALL)), "HS301", 12)) is None


def test_independent_awaits_take_as_long_as_the_longest() -> None:
    """Three waits in a row become the longest of them; own time stays."""
    waits = [waited(0.010 * number, site("read", 10 + number, library="httpx.get")) for number in (1, 3, 2)]
    path: list[Stretch] = [part for each in waits for part in (computed(0.001, HANDLER), each)]
    found = cause(traffic(2, *path), "HS302", 11, seconds=0.030, candidate=trap("HS302", 11, 12, 13))
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.003, Kind.WAITING: 0.030})


def test_awaits_of_one_function_count_as_equal_parts() -> None:
    """Two awaits that lead to the same function cannot be told apart: half of its waits is left."""
    below = site("load", 90, library="httpx.AsyncClient.get")
    runs = (((APP, "load"),), ((APP, "load"),))
    path = [waited(0.010, below), computed(0.001, HANDLER), waited(0.010, below)]
    found = cause(traffic(2, *path), "HS302", 11, candidate=trap("HS302", 11, 12, runs=runs))
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.001, Kind.WAITING: 0.010})


def test_awaits_of_unknown_lines_lose_the_findings_seconds() -> None:
    """Without the lines the finding's seconds are taken from all waits in proportion."""
    found = cause(traffic(2, waited(0.030, CALL), waited(0.010, site("other", 1))), "HS302", seconds=0.020)
    assert spent(after(found)) == pytest.approx({Kind.WAITING: 0.020})


def test_a_client_made_once_costs_nothing_per_request() -> None:
    """Making the client and connecting it go; the call itself stays."""
    connecting = site("read", 12, library="httpx.AsyncClient.get", leaf="asyncio.BaseEventLoop.create_connection")
    path = [
        computed(0.030, HANDLER),
        waited(0.008, connecting),
        waited(0.020, CALL),
        computed(0.004, site("read", 40)),
    ]
    found = cause(traffic(2, *path), "HS303", 10, seconds=0.038)
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.004, Kind.WAITING: 0.020})


def test_a_cache_answers_what_was_asked_before() -> None:
    """The first request waits, the following do not."""
    found = cause(traffic(30, computed(0.001, HANDLER), waited(0.010, CALL, "url='/'")), "HS304", 12)
    fix = fix_for(found)
    assert fix is not None
    assert fix(found.endpoint.accounts[0]) is None
    assert spent(fix(found.endpoint.accounts[1])) == pytest.approx({Kind.COMPUTING: 0.001})
    prediction = Replay(found.evidence.endpoints).predict(found.endpoint, fix)
    assert prediction is not None
    assert (prediction.p50_before, prediction.p50_after) == pytest.approx((0.011, 0.001))


def test_a_lean_client_takes_an_eighth() -> None:
    """Of the client's loop time an eighth is left; waits stay."""
    found = cause(traffic(2, computed(0.008, HANDLER), waited(0.010, CALL)), "HS306", seconds=0.008)
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.001, Kind.WAITING: 0.010})


def test_a_pure_asgi_middleware_keeps_its_own_code() -> None:
    """What BaseHTTPMiddleware does around it goes."""
    around = Site(library="starlette.BaseHTTPMiddleware.__call__")
    found = cause(traffic(2, computed(0.001, around), computed(0.002, HANDLER)), "HS401")
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.002})
    assert fix_for(cause(traffic(2, computed(0.002, HANDLER)), "HS401")) is None


def test_one_validation_is_half_of_two_steps() -> None:
    """Half of the framework's time is left to encode."""
    found = cause(traffic(2, computed(0.002, HANDLER), computed(0.010, ENCODING)), "HS402", seconds=0.010)
    assert spent(after(found)) == pytest.approx({Kind.COMPUTING: 0.007})


@pytest.mark.parametrize("code", ["HS103", "HS203", "HS305"])
def test_some_fixes_cannot_be_replayed(code: str) -> None:
    """Where the accounts do not say what is left after the fix, there is no prediction."""
    assert fix_for(cause(traffic(2, computed(0.002, HANDLER)), code)) is None

"""Attribution is arithmetic: whatever the records say, the seconds add up to the wall time."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hasten.ledger._account import Kind, Site
from hasten.ledger._attribution import KIND_OF, KINDS, Attribution
from hasten.ledger._loop_state import Hold, LoopState, Pause
from hasten.ledger._records import NOBODY, OUTSIDE, RequestRecord, Sample, Stall
from hasten.ledger._sites import OWN, START, YIELDED, SiteTable

WAIT, JOIN, CACHED, HANDLER = 3, 4, 5, 6


def make_state() -> LoopState:
    """Return the state of a loop with sites: a plain wait, one that a task's end completes, a cache's, a function."""
    sites = SiteTable()
    sites.sites.append(Site("/shop/app.py", 10, "load", "redis.get", "redis.read"))
    sites.sites.append(Site("/shop/app.py", 20, "load", "", "_GatheringFuture"))
    sites.sites.append(Site("/shop/app.py", 30, "load", "cache GET redis localhost:6379", "hasten.Request.__await__"))
    sites.sites.append(Site("/shop/app.py", 1, "handler"))
    sites.cache_waits.add(CACHED)
    state = LoopState(sites, 0.02)
    state.close()
    return state


def by_kind(request: RequestRecord, state: LoopState, start: float, end: float) -> dict[Kind, float]:
    """Return the attributed seconds of [start, end] by kind, rounded to nanoseconds."""
    attribution = Attribution(request, state, OWN)
    attribution.cover(start, end)
    result: dict[Kind, float] = {}
    for key, seconds in attribution.seconds.items():
        kind = KIND_OF[key % KINDS]
        result[kind] = round(result.get(kind, 0.0) + seconds, 9)
    return result


def one_task(*steps: tuple[float, float, float, int, int], created: float = 0.0) -> RequestRecord:
    """Return a request of one ended task; a step is (waiting since, resumed, ended, site, waker)."""
    request = RequestRecord(created)
    add_task(request, steps, created)
    return request


def add_task(request: RequestRecord, steps: tuple[tuple[float, float, float, int, int], ...], created: float) -> Any:
    task = request.add_task(None, created)
    for since, resumed, ended, site, waker in steps:
        task.steps.extend((since, resumed, ended, resumed, site, waker))
    task.waiting_since = task.ended = steps[-1][2]
    return task


def test_an_undisturbed_request_is_steps_and_waits() -> None:
    """Queue, own code and waits of one task are told apart."""
    request = one_task((0, 1, 2, START, NOBODY), (2, 5, 6, WAIT, NOBODY), (6, 7, 9, YIELDED, NOBODY))

    assert by_kind(request, make_state(), 0, 9) == {Kind.QUEUED: 2, Kind.COMPUTING: 4, Kind.WAITING: 3}


def test_a_wait_for_a_cache_is_a_kind_of_its_own() -> None:
    """Undisturbed or not, in the middle or at the end, it is cache, less what the request's other tasks computed."""
    request = one_task((0, 1, 2, START, NOBODY), (2, 5, 6, CACHED, NOBODY), (6, 7, 9, ~CACHED, NOBODY))
    assert by_kind(request, make_state(), 0, 9) == {Kind.QUEUED: 1, Kind.COMPUTING: 4, Kind.CACHE: 4}

    add_task(request, ((3, 3, 4, START, NOBODY),), created=3)
    assert by_kind(request, make_state(), 0, 9) == {Kind.QUEUED: 1, Kind.COMPUTING: 5, Kind.CACHE: 3}

    request.tasks[0].ended, request.tasks[0].site = 0.0, CACHED
    assert by_kind(request, make_state(), 0, 11)[Kind.CACHE] == 5


def test_only_the_time_up_to_the_last_byte_counts() -> None:
    """What the step that sends the last byte does after it is not the request's."""
    request = one_task((0, 1, 5, START, NOBODY))

    assert by_kind(request, make_state(), 0, 3) == {Kind.QUEUED: 1, Kind.COMPUTING: 2}


def test_a_hold_takes_the_end_of_the_wait_it_delayed() -> None:
    """A wait that ends right behind another request's hold was held for as long as both lasted."""
    state = make_state()
    state.holds.append(Hold(3, 5, WAIT, 1))
    request = one_task((0, 0, 1, START, NOBODY), (1, 5.001, 6, WAIT, NOBODY))

    kinds = by_kind(request, state, 0, 6)
    assert (kinds[Kind.WAITING], kinds[Kind.HELD]) == (2, 2)


def test_a_hold_with_an_idle_loop_behind_it_delayed_nothing() -> None:
    """A hold long before the end of a wait is part of the wait."""
    state = make_state()
    state.holds.append(Hold(2, 3, WAIT, 1))
    request = one_task((0, 0, 1, START, NOBODY), (1, 5, 6, WAIT, NOBODY))

    assert by_kind(request, state, 0, 6) == {Kind.COMPUTING: 2, Kind.WAITING: 4}


def test_the_requests_own_hold_is_not_held_by_others() -> None:
    """A request's own long step is its own time."""
    request = one_task((0, 0, 5, START, NOBODY))
    state = make_state()
    state.holds.append(Hold(0, 5, WAIT, id(request)))

    assert by_kind(request, state, 0, 5)[Kind.COMPUTING] == 5


def test_a_wait_is_what_the_task_that_ended_it_did() -> None:
    """The waker's own waits and steps replace the wait for it; what is left before the resume is queueing."""
    request = one_task((0, 0, 1, START, NOBODY), (1, 8, 9, WAIT, 1))
    add_task(request, ((1, 2, 3, START, NOBODY), (3, 6, 7, WAIT, NOBODY)), created=1)

    assert by_kind(request, make_state(), 0, 9) == {Kind.COMPUTING: 4, Kind.QUEUED: 2, Kind.WAITING: 3}


def test_a_join_follows_the_task_that_ended_last() -> None:
    """gather's wait is completed by a callback: the task that ended just before the resume was the last child."""
    request = one_task((0, 0, 1, START, NOBODY), (1, 7.0001, 8, JOIN, NOBODY))
    add_task(request, ((1, 1, 2, START, NOBODY), (2, 3, 4, WAIT, NOBODY)), created=1)
    add_task(request, ((1, 2, 3, START, NOBODY), (4, 6, 7, WAIT, NOBODY)), created=1)
    request.tasks[2].steps[6] = 3

    kinds = by_kind(request, make_state(), 0, 8)
    assert kinds[Kind.COMPUTING] > 3


def test_what_others_computed_during_a_wait_is_own_code() -> None:
    """A sibling's step within a wait for something outside is computing, not waiting."""
    request = one_task((0, 0, 1, START, NOBODY), (1, 6, 7, WAIT, OUTSIDE))
    add_task(request, ((1, 3, 5, START, NOBODY),), created=1)

    assert by_kind(request, make_state(), 0, 7) == {Kind.COMPUTING: 4, Kind.WAITING: 3}


def test_the_task_that_sent_the_last_byte_is_the_critical_path() -> None:
    """A streaming response's root waits for a disconnect; its child's work is what took the time."""
    request = one_task((0, 0, 1, START, NOBODY))
    request.tasks[0].ended = 0.0
    request.tasks[0].site = WAIT
    add_task(request, ((1, 2, 3, START, NOBODY), (3, 6, 7, WAIT, NOBODY)), created=1)
    request.finisher = 1

    assert by_kind(request, make_state(), 0, 7) == {Kind.COMPUTING: 3, Kind.QUEUED: 1, Kind.WAITING: 3}


def test_a_thread_is_split_into_its_queue_and_its_run() -> None:
    """A wait for a function in a thread is queueing for the thread, the run, and the way back."""
    request = one_task((0, 0, 1, START, NOBODY), (1, 9, 10, WAIT, NOBODY))
    request.threads.append((0, OWN, 1, 4, 8))

    assert by_kind(request, make_state(), 0, 10) == {
        Kind.COMPUTING: 2,
        Kind.THREAD_QUEUED: 3,
        Kind.THREAD: 4,
        Kind.WAITING: 1,
    }


def test_the_clocks_tell_computing_blocking_and_preempted() -> None:
    """A long step is split by the thread's CPU clock and run-queue delay, look by look."""
    request = one_task((0, 0, 10, START, NOBODY))
    task = request.tasks[0]
    task.stalls.append(Stall(0, 0.0, 5.0, 0.0, 1.0))
    task.samples.extend((Sample(4, WAIT, 0.0, 0.0), Sample(10, JOIN, 5.0, 1.0)))

    assert by_kind(request, make_state(), 0, 10) == {Kind.BLOCKING: 4, Kind.COMPUTING: 5, Kind.PREEMPTED: 1}


def test_a_collection_is_taken_out_of_the_step() -> None:
    """A garbage collection within own code is its own kind."""
    state = make_state()
    state.pauses.append(Pause(2, 3, 2))

    assert by_kind(one_task((0, 0, 5, START, NOBODY)), state, 0, 5) == {Kind.COMPUTING: 4, Kind.COLLECTING: 1}


LENGTHS = st.floats(0.0001, 0.1)
INDEXES = st.integers(0, 3)


@st.composite
def requests(draw: st.DrawFn) -> tuple[RequestRecord, LoopState, float]:
    """Draw a request of up to four tasks with arbitrary wakers, threads, stalls, holds, pauses and finisher."""
    state = make_state()
    request = RequestRecord(0.0)
    end = 0.0
    for number in range(draw(st.integers(1, 4))):
        now = draw(st.floats(0, 0.1)) if number else 0.0
        request.running = draw(st.integers(0, max(0, number - 1)))
        task = request.add_task(None, now)
        for _ in range(draw(st.integers(1, 5))):
            resumed = now + draw(LENGTHS)
            stopped = resumed + draw(LENGTHS)
            site = draw(st.sampled_from([START, YIELDED, WAIT, ~WAIT, JOIN, CACHED]))
            task.steps.extend((now, resumed, stopped, draw(st.floats(0, 0.5)), site, draw(st.integers(-2, 3))))
            if draw(st.booleans()):
                cpu = draw(st.floats(0, 0.2))
                task.stalls.append(Stall(len(task.steps) // 6 - 1, 0.0, cpu, 0.0, draw(st.floats(0, 0.1))))
                task.samples.append(Sample(draw(st.floats(resumed, stopped)), WAIT, draw(st.floats(0, 0.2)), 0.0))
            now = stopped
        task.waiting_since = now
        task.ended = now if draw(st.booleans()) else 0.0
        task.site = WAIT
        end = max(end, now)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.floats(0, 0.5))
        state.holds.append(Hold(start, start + draw(LENGTHS), WAIT, draw(st.integers(0, 1))))
        state.pauses.append(Pause(start, start + draw(st.floats(0, 0.01)), 2))
        request.threads.append((draw(INDEXES), OWN, start, start + 0.01, start + 0.02))
    request.finisher = draw(st.integers(0, len(request.tasks) - 1))
    return request, state, draw(st.floats(0.001, end + 0.1))


@given(requests())
def test_seconds_always_add_up(drawn: tuple[RequestRecord, LoopState, float]) -> None:
    """Any records, however odd, give non-negative lines that sum to the wall time along the timeline."""
    request, state, end = drawn
    attribution = Attribution(request, state, OWN)
    attribution.cover(0.0, end)

    assert abs(sum(attribution.seconds.values()) - end) < 1e-6
    assert abs(sum(part for _, part in attribution.timeline) - end) < 1e-6
    assert all(seconds >= 0 for seconds in attribution.seconds.values())

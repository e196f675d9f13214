"""Accounts of requests that ran alike are made from one shape: they say what each one's own attribution says."""

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hasten.ledger import Kind, Site
from hasten.ledger._attribution import KIND_OF, KINDS, UNREAD, Attribution
from hasten.ledger._loop_state import Hold, LoopState, Pause
from hasten.ledger._records import NOBODY, RequestRecord
from hasten.ledger._shapes import Breakdown, Shapes
from hasten.ledger._sites import OWN, START, YIELDED
from tests.ledger.test_attribution import CACHED, HANDLER, JOIN, WAIT, make_state

LENGTHS = st.floats(0.0001, 0.1)
Lines = Mapping[tuple[Kind, Site], tuple[float, int]]
Stretches = list[tuple[Kind, Site, float]]


async def alpha() -> None:
    pass


async def beta() -> None:
    pass


@dataclass
class Course:
    """How one request ran.

    Attributes:
      sites: Where it was suspended before each step.
      lengths: Seconds of each wait and of the step after it.
      code: Of its task.
      last: Where it was suspended last.
      handler: Site of the endpoint's function.
      ends: Part of the last step up to the last byte; 0.0 if there was none.
      disturbance: What else happened.
    """

    sites: list[int]
    lengths: list[tuple[float, float]]
    code: CodeType | None = alpha.__code__
    last: int = START
    handler: int = OWN
    ends: float = 0.5
    disturbance: str = ""


@st.composite
def courses(draw: st.DrawFn) -> Course:
    """Draw a course from few places, so that some of a dozen run alike."""
    sites = [START, *draw(st.lists(st.sampled_from([YIELDED, WAIT, ~WAIT, JOIN, CACHED, ~CACHED]), max_size=3))]
    return Course(
        sites,
        draw(st.lists(st.tuples(LENGTHS, LENGTHS), min_size=len(sites), max_size=len(sites))),
        draw(st.sampled_from([None, alpha.__code__, beta.__code__])),
        draw(st.sampled_from([sites[-1], YIELDED, WAIT])),
        draw(st.sampled_from([OWN, HANDLER])),
        draw(st.sampled_from([0.0, 0.5, 1.0])),
        draw(st.sampled_from([*[""] * 6, "hold", "pause", "thread", "open", "unread", "task"])),
    )


def request_of(course: Course, state: LoopState, started: float = 1.0) -> RequestRecord:
    """Return the record of a request that has ended."""
    request = RequestRecord(started)
    task = request.add_task(None, started)
    now = started
    for site, (wait, step) in zip(course.sites, course.lengths, strict=True):
        ended = now + wait + step
        task.steps.extend((now, now + wait, ended, now, site, NOBODY))
        now = ended
    task.site = course.last
    task.waiting_since = task.ended = now
    request.completed = now - (1.0 - course.ends) * course.lengths[-1][1] if course.ends else 0.0
    disturb(request, state, course.disturbance)
    request.close()
    task.code = course.code
    return request


def disturb(request: RequestRecord, state: LoopState, disturbance: str) -> None:
    started, task = request.started, request.tasks[0]
    match disturbance:
        case "hold":
            state.holds.append(Hold(started + 0.00001, started + 0.1, WAIT, 1))
        case "pause":
            state.pauses.append(Pause(started + 0.00001, started + 0.1, 2))
        case "thread":
            request.threads.append((0, OWN, started + 0.00001, started + 0.00002, started + 0.1))
        case "open":
            request.completed = task.waiting_since + 0.1
        case "unread":
            request.unread, request.unread_site = 0.01, WAIT
        case "task":
            request.add_task(None, started).ended = task.waiting_since


def on_its_own(course: Course, request: RequestRecord, state: LoopState) -> tuple[Lines, Stretches]:
    """Return lines and timeline by the attribution of this request alone."""
    attribution = Attribution(request, state, course.handler)
    attribution.cover(request.started, request.end)
    seconds, counts = dict(attribution.seconds), dict(attribution.counts)
    if request.unread:
        unread = request.unread_site * KINDS + UNREAD
        seconds[unread], counts[unread] = request.unread, 1

    def name(key: int) -> tuple[Kind, Site]:
        return KIND_OF[key % KINDS], state.sites.sites[key // KINDS]

    lines = {name(key): (spent, counts[key] or 1) for key, spent in seconds.items()}
    return lines, [(*name(key), part) for key, part in attribution.timeline]


def by_shape(found: Breakdown) -> tuple[Lines, Stretches]:
    """Return the same of a breakdown; its lines come largest first."""
    lines, timeline = found.lines()
    assert [line.seconds for line in lines] == sorted([line.seconds for line in lines], reverse=True)
    return (
        {(line.kind, line.site): (line.seconds, line.count) for line in lines},
        [(lines[index].kind, lines[index].site, part) for index, part in timeline],
    )


def assert_same(shaped: tuple[Lines, Stretches], own: tuple[Lines, Stretches]) -> None:
    assert shaped[0].keys() == own[0].keys()
    for line, (seconds, count) in own[0].items():
        assert abs(shaped[0][line][0] - seconds) < 1e-9
        assert shaped[0][line][1] == count
    assert [stretch[:2] for stretch in shaped[1]] == [stretch[:2] for stretch in own[1]]
    assert all(abs(one[2] - other[2]) < 1e-9 for one, other in zip(shaped[1], own[1], strict=True))


@given(st.lists(courses(), min_size=1, max_size=12))
def test_shapes_say_what_each_requests_own_attribution_says(history: list[Course]) -> None:
    """Of any row of requests, alike or not, disturbed or not, each gets the lines, counts and timeline that are its."""
    shapes, state, started = Shapes(), make_state(), 1.0
    for course in history:
        request = request_of(course, state, started)
        found = shapes.attribute(request, state, course.handler)
        assert_same(by_shape(found), on_its_own(course, request, state))
        started = request.tasks[0].waiting_since + 1.0


@given(courses(), st.lists(st.tuples(LENGTHS, LENGTHS), min_size=4, max_size=4))
def test_requests_that_ran_alike_share_their_shape(course: Course, lengths: list[tuple[float, float]]) -> None:
    """The second of two undisturbed requests is attributed by the first one's shape, and says what its own would."""
    shapes, state = Shapes(), make_state()
    course.disturbance = ""
    first = shapes.attribute(request_of(course, state), state, course.handler)
    course.lengths = lengths[: len(course.sites)]
    request = request_of(course, state)
    second = shapes.attribute(request, state, course.handler)

    assert second.shape is first.shape
    assert_same(by_shape(second), on_its_own(course, request, state))


def test_accounts_of_one_shape_have_their_own_seconds_and_order() -> None:
    """Lines come largest first by the request's own seconds; the counts are those of its calls."""
    shapes, state = Shapes(), make_state()
    sites = [START, WAIT, WAIT]
    shapes.attribute(request_of(Course(sites, [(1, 1), (1, 1), (1, 1)]), state), state, OWN)

    course = Course(sites, [(0.1, 0.2), (4, 0.2), (5, 0.2)], last=WAIT)
    lines, timeline = shapes.attribute(request_of(course, state), state, OWN).lines()

    assert [round(line.seconds, 6) for line in lines] == [9, 0.5, 0.1]
    assert [line.count for line in lines] == [2, 3, 1]
    assert [(index, round(part, 6)) for index, part in timeline] == [
        (2, 0.1), (1, 0.2), (0, 4), (1, 0.2), (0, 5), (1, 0.1)
    ]  # fmt: skip


def test_code_that_is_gone_gives_its_shape_to_no_other() -> None:
    """Functions made and dropped one after the other take each other's place in memory, not in the accounts."""
    shapes, state = Shapes(), make_state()
    for number in range(50):
        names: dict[str, Any] = {}
        exec(compile("async def work(): pass", f"/shop/generated_{number}.py", "exec"), names)
        course = Course([START], [(0.1, 0.1)], names.pop("work").__code__)
        lines, _ = shapes.attribute(request_of(course, state), state, OWN).lines()
        assert {line.site.file for line in lines if line.kind is Kind.COMPUTING} == {f"/shop/generated_{number}.py"}
        del course
        gc.collect()


def test_shapes_are_bounded() -> None:
    """Requests that all run in another way leave 512 shapes at most, and none of more than 128 suspensions."""
    shapes, state = Shapes(), make_state()
    for number in range(1500):
        sites = [START, *(WAIT if number >> bit & 1 else JOIN for bit in range(11))]
        shapes.attribute(request_of(Course(sites, [(0.1, 0.1)] * 12), state), state, OWN)
        assert len(shapes._shapes) <= 512
    kept = len(shapes._shapes)

    shapes.attribute(request_of(Course([START, *[WAIT] * 128], [(0.1, 0.1)] * 129), state), state, OWN)
    assert len(shapes._shapes) == kept

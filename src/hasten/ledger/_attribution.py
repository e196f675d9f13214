"""From the records of a finished request to seconds by kind and site: pure arithmetic over numbers.

The life of the task that sent the last byte (before it was made: its parent's) is cut into its steps and its waits.
A step is computing, blocking, preempted or collecting. A wait is, from its end backwards: held, when other requests'
steps held the loop in the busy stretch that ended it; what the task that ended it was doing, when that was a task of
the same request (gather, TaskGroup, queues, anyio's groups, BaseHTTPMiddleware), recursively; a thread's queue and
run; and otherwise waiting at its site, less what other tasks of the same request computed meanwhile.

Kinds and sites are numbers here, packed into one key (`key = site * KINDS + kind`): tuples of enum members and
structures cost 0.4 µs a look-up to hash.
"""

from collections.abc import Sequence
from typing import Any

from hasten.ledger._account import Kind
from hasten.ledger._loop_state import IDLE_GAP, Hold, LoopState, Pause
from hasten.ledger._records import NOBODY, STRIDE, RequestRecord, Sample, Stall, TaskRecord
from hasten.ledger._sites import OWN, START, YIELDED

KIND_OF = tuple(Kind)
KINDS = 16
_NUMBER = {kind: number for number, kind in enumerate(KIND_OF)}
COMPUTING = _NUMBER[Kind.COMPUTING]
BLOCKING = _NUMBER[Kind.BLOCKING]
PREEMPTED = _NUMBER[Kind.PREEMPTED]
WAITING = _NUMBER[Kind.WAITING]
CACHE = _NUMBER[Kind.CACHE]
HELD = _NUMBER[Kind.HELD]
QUEUED = _NUMBER[Kind.QUEUED]
THREAD_QUEUED = _NUMBER[Kind.THREAD_QUEUED]
THREAD = _NUMBER[Kind.THREAD]
COLLECTING = _NUMBER[Kind.COLLECTING]
UNREAD = _NUMBER[Kind.UNREAD]
UNEXPLAINED = _NUMBER[Kind.UNEXPLAINED]

_MOST_DEPTH = 8
# Waits that end through a done-callback of a task, so that no task's step completes them.
_JOINS = frozenset(
    {
        "Future",
        "Task",
        "_GatheringFuture",
        "anyio.TaskGroup.__aexit__",
        "asyncio.TaskGroup.__aexit__",
        "asyncio._wait",
        "asyncio.wait_for",
        "hasten.Calls.results",
    }
)


class Attribution:
    """Seconds of one request by kind and site.

    Args:
      handler: Site of the endpoint's function when it runs on the loop, else OWN.

    Attributes:
      seconds: Seconds by key.
      counts: Stretches (calls, for waiting and cache) by key.
      timeline: (key, seconds) along the critical path.
    """

    def __init__(self, request: RequestRecord, state: LoopState, handler: int) -> None:
        self._request = request
        self._tasks = request.tasks
        self._sites = state.sites
        self._handler = handler
        self._noise = state.clock_noise
        self._holds = _others_holds(request, state.holds) if state.holds else ()
        self._pauses = _pauses_since(request.started, state.pauses) if state.pauses else ()
        self.seconds: dict[int, float] = {}
        self.counts: dict[int, int] = {}
        self.timeline: list[tuple[int, float]] = []

    def cover(self, start: float, end: float) -> None:
        """Account for the time from `start` to `end`; what no record covers stays unexplained."""
        root = self._tasks[0]
        disturbed = len(self._tasks) > 1 or self._holds or self._pauses or root.stalls or self._request.threads
        if disturbed or not root.steps or root.steps[1 - STRIDE] > end:
            self._task(self._tasks[self._request.finisher], start, end, 0)
        else:
            self._undisturbed(root, end)
        missing = end - start - sum(self.seconds.values())
        if missing > 1e-9:
            self._add(UNEXPLAINED, OWN, 0.0, missing, 1)

    def _undisturbed(self, task: TaskRecord, high: float) -> None:
        """Account for a request of one task that nothing disturbed: 0.7 µs a step where `_task` takes 3.

        `high` lies in its last step.
        """
        seconds, counts, note = self.seconds, self.counts, self.timeline.append
        cache_waits = self._sites.cache_waits
        steps = task.steps
        for at in range(0, len(steps), STRIDE):
            since, resumed, ended, _, coded, _ = steps[at : at + STRIDE]
            site, call = (coded, 1) if coded >= 0 else (~coded, 0)
            key = site * KINDS + (QUEUED if site <= YIELDED else CACHE if site in cache_waits else WAITING)
            wait = resumed - since
            seconds[key] = seconds.get(key, 0.0) + wait
            counts[key] = counts.get(key, 0) + call
            note((key, wait))
            if ended > high:
                ended = high
            key = self.own_site(task, at // STRIDE) * KINDS + COMPUTING
            own = ended - resumed
            seconds[key] = seconds.get(key, 0.0) + own
            counts[key] = counts.get(key, 0) + 1
            note((key, own))

    def _add(self, kind: int, site: int, start: float, end: float, count: int = 1) -> None:
        seconds = end - start
        if seconds > 0.0:
            key = site * KINDS + kind
            self.seconds[key] = self.seconds.get(key, 0.0) + seconds
            self.counts[key] = self.counts.get(key, 0) + count
            self.timeline.append((key, seconds))

    def _task(self, task: TaskRecord, low: float, high: float, depth: int) -> None:
        """Account for [low, high] by what `task` did, and before it was made by what its parent did."""
        if task.created > low and task.number and depth < _MOST_DEPTH:
            self._task(self._tasks[task.parent], low, min(task.created, high), depth + 1)
            low = task.created
        steps = task.steps
        cursor = low
        for at in range(0, len(steps), STRIDE):
            since, resumed, ended, busy, site, waker = steps[at : at + STRIDE]
            if ended <= low:
                continue
            if since >= high:
                break
            if since > cursor:
                self._add(QUEUED, START, cursor, min(since, high))
            start, end = (since if since > low else low), (resumed if resumed < high else high)
            if end > start:
                self._wait(task, start, end, busy, site, waker, depth)
            if resumed < high:
                self._step(task, at // STRIDE, max(resumed, low), min(ended, high), resumed, ended)
            cursor = min(ended, high)
        if cursor < high:
            self._rest(task, cursor, high)

    def _rest(self, task: TaskRecord, low: float, high: float) -> None:
        """Account for the time after the last recorded step: the task is over, or still waits."""
        site, call = _site_and_call(task.site)
        if task.ended or site <= YIELDED:
            self._apart(QUEUED, task, low, high, START if task.ended else site, call)
        else:
            self._outside(task, low, high, site, call)

    def _wait(self, task: TaskRecord, low: float, high: float, busy: float, coded: int, waker: int, depth: int) -> None:
        site, call = (coded, 1) if coded >= 0 else (~coded, 0)
        turn = high
        held = self._holding(low, high, busy) if self._holds else []
        if held:
            turn = max(low, held[0].start)
        if site <= YIELDED:
            self._apart(QUEUED, task, low, turn, site, call)
        elif turn > low:
            other = self._waker(task, low, high, busy, site, waker) if len(self._tasks) > 1 else None
            if other is not None and depth < _MOST_DEPTH:
                self._task(other, low, turn, depth + 1)
            else:
                self._outside(task, low, turn, site, call)
        if turn < high:
            self._held(held, turn, high)

    def _holding(self, low: float, high: float, busy: float) -> list[Hold]:
        """Return the holds that delayed the end of the wait [low, high]: those with no idle loop behind them.

        `busy` is since when recorded steps followed each other up to `high`; the gap behind a hold may be a tenth of
        it, because what it kept waiting runs first, partly unrecorded.
        """
        holding: list[Hold] = []
        turn = min(high, busy)
        for hold in reversed(self._holds):
            if hold.start < high and turn - hold.end <= max(IDLE_GAP, 0.1 * (hold.end - hold.start)):
                turn = min(turn, hold.start)
                if hold.end > low:
                    holding.insert(0, hold)
        return holding

    def _held(self, holds: Sequence[Hold], low: float, high: float) -> None:
        for hold in holds:
            start, end = max(low, hold.start), min(high, hold.end)
            if end > low:
                self._add(QUEUED, START, low, start)
                self._add(PREEMPTED if hold.preempted else HELD, hold.site, start, end)
                low = end
        self._add(QUEUED, START, low, high)

    def _waker(
        self, task: TaskRecord, low: float, resumed: float, busy: float, site: int, waker: int
    ) -> TaskRecord | None:
        """Return the task of the request that ended this wait, if one did."""
        tasks = self._tasks
        if waker >= 0:
            return tasks[waker] if waker < len(tasks) and tasks[waker] is not task else None
        if waker == NOBODY and self._sites.sites[site].leaf in _JOINS:
            after = max(low, busy - IDLE_GAP)
            ended = [other for other in tasks if other is not task and after < other.ended <= resumed]
            return max(ended, key=lambda other: other.ended, default=None)
        return None

    def _outside(self, task: TaskRecord, low: float, high: float, site: int, call: int) -> None:
        """Account for a wait for something outside the request's tasks: a thread, or an answer."""
        kind = CACHE if site in self._sites.cache_waits else WAITING
        for number, function, handed, started, ended in self._request.threads:
            if number == task.number and handed < high and ended > low:
                self._apart(kind, task, low, min(handed, high), site, call)
                self._add(THREAD_QUEUED, function, max(low, handed), min(started, high))
                self._add(THREAD, function, max(low, started), min(ended, high))
                low, call = max(low, min(ended, high)), 0
        self._apart(kind, task, low, high, site, call)

    def _apart(self, kind: int, task: TaskRecord, low: float, high: float, site: int, call: int) -> None:
        """Account for a wait of `kind`, less the steps of the request's other tasks within it."""
        if len(self._tasks) > 1 and high > low:
            for start, end, index, other in _steps_within(self._tasks, task, low, high):
                if end > low:
                    start = max(low, start)
                    self._add(kind, site, low, start, call)
                    self._step(other, index, start, end, *_bounds(other, index))
                    low, call = end, 0
        self._add(kind, site, low, high, call)

    def _step(self, task: TaskRecord, index: int, low: float, high: float, started: float, ended: float) -> None:
        """Account for own code, less garbage collections within it."""
        for pause in self._pauses:
            if pause.start < high and pause.end > low:
                self._own(task, index, low, max(low, pause.start), started, ended)
                self._add(COLLECTING, OWN, max(low, pause.start), min(high, pause.end))
                low = min(high, pause.end)
        self._own(task, index, low, high, started, ended)

    def _own(self, task: TaskRecord, index: int, low: float, high: float, started: float, ended: float) -> None:
        if high <= low:
            return
        own = self.own_site(task, index)
        stall = next((stall for stall in task.stalls if stall.step == index), None) if task.stalls else None
        if stall is None:
            self._add(COMPUTING, own, low, high)
        else:
            self._long(task, stall, own, low, high, started, ended)

    def _long(
        self, task: TaskRecord, stall: Stall, own: int, low: float, high: float, started: float, ended: float
    ) -> None:
        """Account for a long step: from look to look of the watchdog, what the thread's clocks say was done there."""
        seen = [sample for sample in task.samples if started <= sample.when <= ended]
        when, cpu, delay = started, stall.cpu_before, stall.delay_before
        last = seen[-1].site if seen else own
        for look in (*seen, Sample(ended, last, stall.cpu_after, stall.delay_after)):
            start, end = max(low, when), min(high, look.when)
            if end > start:
                whole = look.when - when
                computing = max(0.0, min(1.0, (look.cpu - cpu) / whole))
                preempted = max(0.0, min(1.0 - computing, (look.delay - delay) / whole))
                self._divide(look.site, start, end, computing, preempted)
            when, cpu, delay = look.when, look.cpu, look.delay

    def _divide(self, site: int, low: float, high: float, computing: float, preempted: float) -> None:
        """Account for [low, high] by shares: computing, preempted, the rest blocking."""
        wall = high - low
        if wall * (1.0 - computing - preempted) < self._noise:
            computing = 1.0 - preempted
        turn = low + wall * computing
        self._add(COMPUTING, site, low, turn)
        self._add(PREEMPTED, site, turn, turn + wall * preempted)
        self._add(BLOCKING, site, turn + wall * preempted, high)

    def own_site(self, task: TaskRecord, index: int) -> int:
        """Return the site at which step `index` ended: its next wait's, or the last known one for the last step."""
        following = (index + 1) * STRIDE + 4
        steps = task.steps
        coded = steps[following] if following < len(steps) else task.site
        if coded < 0:
            coded = ~coded
        elif coded <= YIELDED:
            coded = _nearest_wait(steps, index)
        site = self._sites.own_of.get(coded)
        if site is None:
            site = self._sites.own(coded)
        return site if site != OWN else self._sites.coroutine(task.code, self._handler)


def _nearest_wait(steps: Sequence[Any], index: int) -> int:
    """Return the site of the next wait after step `index` that is no mere giving way, else of the last before it.

    Libraries give way at the edges of their calls (anyio's checkpoints): the step before belongs to the call's line.
    """
    sites = [coded if coded >= 0 else ~coded for coded in steps[4::STRIDE]]
    for site in (*sites[index + 1 :], *reversed(sites[: index + 1])):
        if site > YIELDED:
            return int(site)
    return START


def _site_and_call(coded: int) -> tuple[int, int]:
    return (coded, 1) if coded >= 0 else (~coded, 0)


def _bounds(task: TaskRecord, index: int) -> tuple[float, float]:
    """Return when step `index` of `task` started and ended."""
    return task.steps[index * STRIDE + 1], task.steps[index * STRIDE + 2]


def _others_holds(request: RequestRecord, holds: Sequence[Hold]) -> list[Hold]:
    """Return the holds since the request began that are not its own steps, in order of their start."""
    if holds[-1].end <= request.started:
        return []
    return sorted([hold for hold in holds if hold.end > request.started and hold.request != id(request)])


def _pauses_since(start: float, pauses: Sequence[Pause]) -> list[Pause]:
    return [pause for pause in pauses if pause.end > start] if pauses[-1].end > start else []


def _steps_within(
    tasks: Sequence[TaskRecord], task: TaskRecord, low: float, high: float
) -> list[tuple[float, float, int, TaskRecord]]:
    """Return the steps of the other tasks that lie in [low, high], clipped to it, in order."""
    found = []
    for other in tasks:
        if other is not task and other.created < high and other.waiting_since > low:
            steps = other.steps
            for at in range(0, len(steps), STRIDE):
                start, end = steps[at + 1], steps[at + 2]
                if end > low and start < high:
                    found.append((max(low, start), min(high, end), at // STRIDE, other))
    found.sort(key=lambda step: step[:2])
    return found

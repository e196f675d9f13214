"""The open-model generator: sends what is due when it is due, whether or not earlier requests have been
answered.

The next request is rendered before its time comes (schedule); the pacer wakes the loop at its intended send
time; the pool sends it or lets it wait for a connection; its outcome is counted by kind (outcomes). Every
latency counts from the intended time, so a server that stalls is charged for every request that would have
come meanwhile: no coordinated omission (Gil Tene, wrk2).

Measured at 10,000 requests/s against a server that answers at once, each pinned to one of two cores, three runs of 8 s:
own lateness p50 18-26 µs, p99 0.11-0.21 ms; 48-59 µs of CPU a request, most of it the kernel's and uvloop's (a bare
loop without kinds, time-outs and histograms took four fifths of it).
"""

import asyncio
import gc
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from hasten._core.errors import MissingDependency
from hasten._core.histogram import Histogram
from hasten._core.interruption import handling, interruption
from hasten.load._outcomes import Outcomes
from hasten.load._pacer import Pacer, make_pacer
from hasten.load._plan import Plan
from hasten.load._pool import Pool
from hasten.load._result import LoadResult, find_problems
from hasten.load._schedule import Schedule
from hasten.load._target import parse_target

if TYPE_CHECKING:
    from hasten.load._client import Client
    from hasten.load._connection import Exchange

_BATCH = 32  # requests sent per wake-up at most, so that answers are read between them when many are due
_HEAD_START = 0.02  # seconds between setting up and offset 0
_PROGRESS_SECONDS = 0.5
_GRPC_PACKAGES = {"grpc": "grpcio", "hpack": "hpack"}  # by the module that is missing
_clock = time.perf_counter


class Progress(msgspec.Struct, frozen=True):
    """How far a load test has come, in seconds and requests.

    Attributes:
      elapsed: Seconds of the schedule that have passed, of `planned`.
      warming: The warm-up is not over.
      offered: Counted requests that are done.
      failed: Those of them that did not get the answer expected.
      rate: Counted requests done per second since the last report.
      p99: Latency of all counted so far.
    """

    elapsed: float
    planned: float
    warming: bool
    offered: int
    failed: int
    rate: float
    p99: float


OnProgress = Callable[[Progress], None]


class Generator:
    """One run of a plan: `await run()` once, then read `result()`.

    Cancellation: cancelling `run` stops sending and closes all connections; `stop` does the same and lets
    `run` return, so that `result()` tells what was measured until then.
    """

    def __init__(self, plan: Plan, *, on_progress: OnProgress | None = None, request_ids: bool = False) -> None:
        self._plan = plan
        self._request_ids = request_ids
        self._on_progress = on_progress
        self._outcomes = Outcomes(plan, self._settle, keep_records=request_ids)
        self._lateness = Histogram()
        self._under_way: deque[Exchange] = deque()  # in the order they were due, so the first times out first
        self._next: Exchange | None = None
        self._missed = 0
        self._started_at = self._ended_at = 0.0
        self._cpu_from = self._cpu_seconds = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._reported = (0.0, 0)
        self._partial = False
        self.started = False

    async def run(self) -> None:
        """Send the plan and wait for the outcomes, at most `timeout` longer than the schedule.

        Raises:
          TargetUnreachable: the target accepts no connection.
          ConfigurationError: a gRPC server has no such method, or its request is another.
          MissingDependency: the target speaks gRPC, and what is needed for that is not installed.
        """
        plan = self._plan
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._client = _client_of(plan, self._outcomes, request_ids=self._request_ids)
        pacer: Pacer | None = None
        try:
            await self._client.probe()
            with _quiet_collector():
                pacer = self._pacer = make_pacer(self._wake)
                self._start()
                await self._finished
        finally:
            self._end()
            if pacer is not None:
                pacer.close()
            await self._client.aclose()

    def stop(self) -> None:
        """Stop sending at once and let `run` return; requests under way are not counted."""
        self._partial = True
        if not self._finished.done():
            self._finished.set_result(None)

    def result(self) -> LoadResult:
        """Return what was measured; `run` must have returned."""
        plan, total = self._plan, self._outcomes.total()
        answered_p99 = total.latency.quantile(0.99)
        lateness_p50, lateness_p99 = self._lateness.quantiles((0.5, 0.99))
        measured_from = self._started_at + plan.warmup
        reached = min(plan.duration, max(0.0, self._ended_at - measured_from))
        measured = reached if self._partial else plan.duration
        span = max(measured, self._outcomes.last - measured_from)
        offered = total.answered + total.failed
        return LoadResult(
            target=plan.target,
            arrivals=plan.arrivals,
            seed=plan.seed,
            rate=plan.rate,
            warmup=plan.warmup,
            measured=measured,
            started_at=self._started_at,
            total=self._outcomes.total_result(),
            kinds=self._outcomes.results(),
            achieved_rate=total.answered / span if span > 0 else 0.0,
            lateness_p50=lateness_p50,
            lateness_p99=lateness_p99,
            lateness_max=self._lateness.largest,
            missed=self._missed,
            repeats=self._client.repeats,
            connections=self._client.peak,
            cpu_seconds=self._cpu_seconds,
            pacing=self._pacer.name,
            partial=self._partial,
            problems=find_problems(
                offered=offered,
                missed=self._missed,
                lateness_p99=lateness_p99,
                latency_p99=answered_p99,
                own_limit=self._client.own_limit,
            ),
            requests=self._outcomes.records,
        )

    def _start(self) -> None:
        plan = self._plan
        self._started_at = _clock() + _HEAD_START
        self._cpu_from = time.thread_time()
        self._schedule = Schedule(plan, self._started_at, self._client.template)
        self.started = True
        self._after("warm-up", _HEAD_START + plan.warmup, self._begin_measuring)
        self._after("sweep", self._sweep_seconds(), self._sweep)
        if self._on_progress is not None:
            self._after("progress", _PROGRESS_SECONDS, self._progress)
        self._next = self._schedule.next()
        self._arm_or_settle()

    def _end(self) -> None:
        self._ended_at = _clock()
        self._cpu_seconds = time.thread_time() - self._cpu_from
        for timer in self._timers.values():
            timer.cancel()

    def _begin_measuring(self) -> None:
        self._cpu_from = time.thread_time()

    def _wake(self) -> None:
        try:
            self._send_due()
        except Exception as error:  # it would vanish in the loop, and `run` would wait for ever
            if not self._finished.done():
                self._finished.set_exception(error)

    def _send_due(self) -> None:
        """Send all that is due: the hot path."""
        patience = self._plan.timeout
        for _ in range(_BATCH):
            exchange = self._next
            if exchange is None:
                break
            late = _clock() - exchange.due
            if late < 0.0:
                break
            if late > patience:
                self._missed += exchange.counted
            else:
                if exchange.counted:
                    self._lateness.record(late)
                self._outcomes.outstanding += 1
                self._under_way.append(exchange)
                self._client.submit(exchange)
            self._next = self._schedule.next()
        self._arm_or_settle()

    def _arm_or_settle(self) -> None:
        if self._next is not None:
            self._pacer.arm(self._next.due)
        else:
            self._settle()

    def _settle(self) -> None:
        """Finish if everything has been sent and nothing is outstanding."""
        if self._next is None and not self._outcomes.outstanding and not self._finished.done():
            self._finished.set_result(None)

    def _sweep_seconds(self) -> float:
        """Return how long a request may stay past its time-out unnoticed; one timer serves all requests."""
        return min(0.1, max(0.005, self._plan.timeout / 20))

    def _sweep(self) -> None:
        """Time out what is due for it, and let go of what is done."""
        under_way, horizon = self._under_way, _clock() - self._plan.timeout
        while under_way and (not under_way[0].open or under_way[0].due <= horizon):
            exchange = under_way.popleft()
            if exchange.open:
                self._client.expire(exchange)
        self._after("sweep", self._sweep_seconds(), self._sweep)

    def _progress(self) -> None:
        now = _clock()
        offered, failed = self._outcomes.counted()
        since, before = self._reported
        self._reported = (now, offered)
        elapsed, planned = now - self._started_at, self._plan.warmup + self._plan.duration
        rate = (offered - before) / (now - since) if since else 0.0
        (p99,) = self._outcomes.total().quantiles((0.99,))
        warming = elapsed < self._plan.warmup
        report = Progress(max(0.0, min(elapsed, planned)), planned, warming, offered, failed, rate, p99)
        self._after("progress", _PROGRESS_SECONDS, self._progress)
        if self._on_progress is not None:
            self._on_progress(report)

    def _after(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(seconds, call)


def _client_of(plan: Plan, outcomes: Outcomes, *, request_ids: bool) -> "Client":
    """Return what sends the plan's requests; only a gRPC plan loads what speaks gRPC."""
    target = parse_target(plan.target, "target")
    if not plan.grpc:
        return Pool(
            target,
            plan.connection_limit,
            outcomes,
            timeout=plan.timeout,
            verify=plan.verify,
            request_ids=request_ids,
        )
    try:
        from hasten.load._grpc import GrpcPool
    except ModuleNotFoundError as error:
        if error.name not in _GRPC_PACKAGES:
            raise
        raise MissingDependency(_GRPC_PACKAGES[error.name], "grpc") from error
    return GrpcPool(plan, target, outcomes, request_ids=request_ids)


async def run_plan(plan: Plan, *, on_progress: OnProgress | None = None, request_ids: bool = False) -> LoadResult:
    """Send a plan's requests from the running loop, which should do nothing else meanwhile (uvloop is best).

    Args:
      plan: What to send.
      on_progress: Called twice a second, in the loop: it must return within microseconds, or the run is late.
      request_ids: Give each request an `X-Request-ID` with its number, and keep a record of each.
    Raises:
      TargetUnreachable: the target accepts no connection.
    Cancellation: stops sending and closes all connections.
    """
    generator = Generator(plan, on_progress=on_progress, request_ids=request_ids)
    await generator.run()
    return generator.result()


def run(plan: Plan, *, on_progress: OnProgress | None = None, request_ids: bool = False) -> LoadResult:
    """Do what `run_plan` does in a loop of its own: uvloop's where it is installed, else asyncio's.

    In the main thread Ctrl-C ends the run early: the result is then `partial`.

    Raises:
      TargetUnreachable: the target accepts no connection.
      KeyboardInterrupt: Ctrl-C came before the first request.
      SystemExit: SIGTERM or SIGHUP came, on the main thread; all connections are closed.
    """
    generator = Generator(plan, on_progress=on_progress, request_ids=request_ids)
    came: list[int] = []
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_interruptible(generator, came))
        except asyncio.CancelledError:
            raise interruption(came[0] if came else signal.SIGINT) from None
    if came and came[0] != signal.SIGINT:
        raise interruption(came[0])
    return generator.result()


async def _interruptible(generator: Generator, came: list[int]) -> None:
    """Run the generator; a signal that ends processes stops it, and its number is noted."""
    task = asyncio.current_task()

    def end(number: int) -> None:
        came.append(number)
        if generator.started:
            generator.stop()
        elif task is not None:
            task.cancel()

    with handling(end):
        await generator.run()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with suppress(ModuleNotFoundError):
        import uvloop  # not to be had on Windows

        return uvloop.new_event_loop
    return None


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Keep the garbage collector from pausing the generator: what exists is set aside, new garbage may pile up.

    On uvloop a run leaves no cyclic garbage at all; on asyncio's loop each closed connection leaves 7 objects,
    collected at 100,000 (5 ms) so that a long run against a server without keep-alive stays in bounded memory.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()

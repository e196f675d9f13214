"""`ledger-steps`: nanoseconds that the ledger adds to a task and to each of its steps, in this process.

For whoever changes the ledger's hot path: `ledger` says what a request pays, this says which part pays it. A
step is one suspension on a future that the loop resolves in its next turn; a deep step is the same eight
coroutines down. The time of a task includes the one step it has, and with the driver the making of its
account. CPU time of the loop's thread, so the watchdog's thread is not in it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import uvloop

from benchmarks._harness import Benchmark, Effort, Prepared, Role, Subject, Trial
from hasten._core.errors import InvalidMeasurement
from hasten.ledger import Ledger

_STEPS = 40
_DEPTH = 8
_SIZE, _QUICK_SIZE = (400, 4), (40, 2)  # tasks a turn, turns a round
_NEVER = 1_000_000_000
_LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
_LEDGERS: Mapping[str, Callable[[], Ledger | None]] = {
    "bare": lambda: None,
    "factory": lambda: Ledger(sample_every=_NEVER),
    "driver": lambda: Ledger(sample_every=1),
    "detail": lambda: Ledger(sample_every=1, detail=True),
}


class LedgerStepsBenchmark(Benchmark):
    """Cost of the ledger's parts per task and step."""

    name = "ledger-steps"
    summary = "nanoseconds per task and step: task factory, driver, driver with detail"
    subjects = (
        Subject("bare", Role.LIMIT, "the loop's own tasks"),
        Subject("factory", Role.OURS, "ledger installed, the request not sampled", "hasten"),
        Subject("driver", Role.OURS, "the request sampled"),
        Subject("detail", Role.OURS, "the request sampled in detail"),
    )
    units: Mapping[str, str] = {"task": "ns", "step": "ns", "deep-step": "ns"}
    packages = ("uvloop",)

    @contextmanager
    def prepare(self, effort: Effort) -> Iterator[Prepared]:
        """Yield a trial for each subject and loop; nothing has to be started."""
        tasks, turns = _QUICK_SIZE if effort.quick else _SIZE
        trials: list[Trial] = [
            StepsTrial(subject.name, loop, tasks, turns) for loop in _LOOPS for subject in effort.choose(self.subjects)
        ]
        yield Prepared(tuple(trials), dict.fromkeys(_LOOPS, f"{tasks} tasks of {_STEPS} steps a turn"))


class StepsTrial:
    """One ledger setting on one loop."""

    def __init__(self, subject: str, loop: str, tasks: int, turns: int) -> None:
        self.subject = subject
        self.case = loop
        self.turns = turns
        self._tasks = tasks
        self._measured: list[tuple[float, float, float]] = []

    def turn(self, seed: int) -> None:
        """Run the three kinds of tasks in a loop of their own; `seed` changes nothing here."""
        with asyncio.Runner(loop_factory=_LOOPS[self.case]) as runner:
            self._measured.append(runner.run(self._measure()))

    def figures(self) -> Mapping[str, float]:
        """Return means over the turns since the last call, in ns."""
        task, step, deep_step = (fmean(values) for values in zip(*self._measured, strict=True))
        self._measured.clear()
        return {"task": task, "step": step, "deep-step": deep_step}

    async def _measure(self) -> tuple[float, float, float]:
        ledger = _LEDGERS[self.subject]()
        loop = asyncio.get_running_loop()
        if ledger is not None:
            ledger.attach(loop)
        try:
            await self._seconds(_suspend_often, 1)  # warms the code and the table of sites
            task = await self._seconds(_suspend_often, 1)
            flat = await self._seconds(_suspend_often, 1 + _STEPS)
            deep = await self._seconds(_suspend_deep, 1 + _STEPS)
        finally:
            if ledger is not None:
                ledger.detach(loop)
        if ledger is not None and not ledger.on:
            raise InvalidMeasurement("ledger-steps", f"the ledger turned itself off under {self.subject!r}")
        return task * 1e9, (flat - task) / _STEPS * 1e9, (deep - task) / _STEPS * 1e9

    async def _seconds(self, work: "Work", steps: int) -> float:
        """Return CPU seconds per task that suspends `steps` times."""
        create_task = asyncio.get_running_loop().create_task
        started = time.thread_time()
        for _ in range(self._tasks):
            await create_task(RequestResponseCycle(work, steps).run_asgi())
        return (time.thread_time() - started) / self._tasks


Work = Callable[[int], Coroutine[Any, Any, None]]


class RequestResponseCycle:
    """Bears the name by which the ledger knows the task of a request in uvicorn, so that it samples ours."""

    transport = None

    def __init__(self, work: Work, steps: int) -> None:
        self._work = work
        self._steps = steps

    async def run_asgi(self) -> None:
        """Do the work as a request's task would."""
        await self._work(self._steps)


async def _suspend_often(steps: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(steps):
        answered = loop.create_future()
        loop.call_soon(answered.set_result, None)
        await answered


async def _suspend_deep(steps: int, depth: int = _DEPTH) -> None:
    if depth:
        await _suspend_deep(steps, depth - 1)
    else:
        await _suspend_often(steps)

"""What a capture writes down: its requests, with the stacks that made their tasks, and what it knows of the loop."""

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from hasten.ledger._drive import DRIVER_CODE
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import RequestRecord, TaskRecord
from hasten.ledger._sites import OWN, START
from hasten.ledger._stacks import StackTable, StackTask

if TYPE_CHECKING:
    from hasten.ledger._sampler import Look

_MOST_UNDER_WAY = 10_000


class StackRequest(RequestRecord):
    """One captured request while it runs.

    Attributes:
      thread_looks: What was seen of functions that it has handed to threads, by site.
      workers: The sampler's, see there.
    """

    __slots__ = ("thread_looks", "workers")
    told = False

    def __init__(self, started: float, table: StackTable, workers: dict[int, Any]) -> None:
        super().__init__(started, table)
        self.thread_looks: list[tuple[int, list[Look]]] = []
        self.workers = workers

    def add_task(self, coroutine: Any, created: float) -> TaskRecord:
        """Begin the record of a task that runs `coroutine` for this request, below the stack that makes it."""
        task = StackTask(coroutine, len(self.tasks), self.running, created)
        task.looks = []
        task.origin = self._made_at() if self.tasks else START
        self.tasks.append(task)
        return task

    def _made_at(self) -> int:
        """Return the stack of the running step."""
        running = cast("StackTask", self.tasks[self.running])
        return cast("StackTable", self.sites).making(DRIVER_CODE, running.origin)

    def hand_over(self, target: Any, function: Callable[..., Any]) -> tuple[int, Callable[..., Any]]:
        """Return the stack of `target`, and a function that calls `function` in the sampler's view."""
        table = cast("StackTable", self.sites)
        origin = self._made_at()
        site = table.below(origin, table.function(target))
        looks: list[Look] = []
        self.thread_looks.append((site, looks))
        workers = self.workers

        def seen(*args: Any, **kwargs: Any) -> Any:
            thread = get_ident()
            outer = workers.get(thread)
            workers[thread] = seen.__code__, origin, looks
            try:
                return function(*args, **kwargs)
            finally:
                if outer is None:
                    workers.pop(thread, None)
                else:
                    workers[thread] = outer

        return site, seen

    def mark_last_steps(self, table: StackTable) -> None:
        """Have the own code of tasks' last steps be apart from that before their last waits."""
        for task in self.tasks:
            if task.ended and task.steps:
                task.site = table.last(~task.site if task.site < 0 else task.site)

    def drop(self) -> None:
        """Drop what the stacks were made of."""
        super().drop()
        self.thread_looks.clear()
        self.workers = {}


class CaptureState(LoopState):
    """What a capture knows of the loop, made in any thread from what the ledger knows.

    It reads the thread's clocks at both ends of each step, 6 µs: in steps of less than 4 ms, too, the interpreter's
    lock is waited for, most of all while the sampler has it.

    Attributes:
      under_way: The requests that have begun and not ended, 10,000 at most.
      workers: The sampler's, see there.
    """

    __slots__ = ("_table", "under_way", "workers")

    def __init__(self, table: StackTable, like: LoopState) -> None:
        super().__init__(table, like.hold_threshold, like=like)
        self._table = table
        self.under_way: dict[int, StackRequest] = {}
        self.workers: dict[int, Any] = {}
        self.mark_age = self.long_step = self.clock_noise = 0.0

    def read_clocks(self, now: float) -> None:
        """Read the thread's clocks before a step; one within another's step has that step's."""
        if self.current is None:
            super().read_clocks(now)

    def begin(self, started: float) -> RequestRecord:
        """Return the record of a request that begins."""
        request = StackRequest(started, self._table, self.workers)
        request.state = self
        if len(self.under_way) < _MOST_UNDER_WAY:
            self.under_way[id(request)] = request
        return request

    def _seen(self, task: TaskRecord, started: float) -> list[int]:
        looks = task.looks if isinstance(task, StackTask) else ()
        return [look.stack for look in looks if look.when >= started and look.stack != OWN for _ in range(look.ticks)]

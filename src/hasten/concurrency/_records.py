"""What the package tells its hooks, as frozen records."""

from collections.abc import Callable
from typing import Literal

import msgspec

Outcome = Literal["ok", "error", "abandoned", "left", "expired", "refused"]
"""Of work for threads. In one: it returned, it raised, or it ended when its caller had gone. In none: its caller had
gone before, its deadline had passed, or it was not taken."""


class ThreadWork(msgspec.Struct, frozen=True, gc=False):
    """A piece of work for a `ThreadPool` has ended, whatever way.

    Attributes:
      pool: Name of the pool.
      waited: Seconds until a thread took it, or it was given up; 0.0 where it was refused.
      ran: Seconds in the thread; 0.0 where none took it.
    """

    pool: str
    outcome: Outcome
    waited: float
    ran: float


ThreadHook = Callable[[ThreadWork], None]


StrayKind = Literal["failed", "destroyed", "never-awaited", "unheld"]


class Stray(msgspec.Struct, frozen=True, gc=False):
    """A task or coroutine that nobody looks after, as `TaskWatch` has found it.

    Attributes:
      kind: `failed`: a task's error was seen by nobody. `destroyed`: a task was collected before it had ended.
        `never-awaited`: a coroutine was made and not run. `unheld`: a task runs to which nobody has a reference.
      site: Where the coroutine was made: `app/orders.py:41 place_order`; where that is not known, where it is defined:
        `app/mail.py:7 send_mail`.
      coroutine: Its qualified name.
      error: The error of a failed one, in one line; empty for the rest.
      count: How many of this kind and site there have been, this one included.
    """

    kind: StrayKind
    site: str
    coroutine: str
    error: str
    count: int


StrayHook = Callable[[Stray], None]

"""Garbage collections, timed by `gc.callbacks`: they stop every thread that runs Python."""

import gc
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

from hasten._core.signals import Collected, LedgerHook
from hasten.ledger._loop_state import Pause

_SHORTEST = 0.0005


class CollectionTimer:
    """Notes collections of at least 0.5 ms into `pauses`, from `install` to `remove`, and tells hooks of each one."""

    def __init__(self, pauses: deque[Pause], hooks: Sequence[LedgerHook] = ()) -> None:
        self._pauses = pauses
        self._hooks = hooks
        self._started = 0.0

    def install(self) -> None:
        """Begin to listen."""
        gc.callbacks.append(self._collected)

    def remove(self) -> None:
        """Stop listening."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, information: dict[str, Any]) -> None:
        if phase == "start":
            self._started = monotonic()
        else:
            ended = monotonic()
            if ended - self._started >= _SHORTEST:
                self._pauses.append(Pause(self._started, ended, information["generation"]))
            for hook in self._hooks:
                hook(Collected(information["generation"], ended - self._started))

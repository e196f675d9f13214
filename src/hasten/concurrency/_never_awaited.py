"""Coroutines that were made and never run: told by the interpreter, whatever the filters of `warnings` say."""

import warnings
from collections.abc import Callable
from typing import Any

_NAME = "_warn_unawaited_coroutine"
"""What the interpreter looks up in `warnings` and calls for each one; so from 3.7 to 3.15."""


class NeverAwaited:
    """Stands before Python's own warning from `install` to `remove`, and lets it follow.

    A warning cannot be relied on: it is shown once for each line that the coroutine was dropped in, and not at all
    where PYTHONWARNINGS says so.

    Args:
      note: Called with the coroutine, in any thread, within a garbage collection; must not raise.
    """

    def __init__(self, note: Callable[[Any], None]) -> None:
        self._note = note
        self._on = False
        self._warn: Callable[[Any], None] | None = None

    def install(self) -> None:
        """Begin to be told; not where this Python has no such function."""
        self._on = True
        warn = getattr(warnings, _NAME, None)
        if warn is not None and self._warn is None:
            self._warn = warn
            setattr(warnings, _NAME, self._told)

    def remove(self) -> None:
        """Put Python's own back, unless somebody has wrapped ours meanwhile: then ours stays and passes through."""
        self._on = False
        if self._warn is not None and getattr(warnings, _NAME, None) == self._told:
            setattr(warnings, _NAME, self._warn)
            self._warn = None

    def _told(self, coroutine: Any) -> None:
        warn = self._warn
        if self._on:
            self._note(coroutine)
        if warn is not None:
            warn(coroutine)

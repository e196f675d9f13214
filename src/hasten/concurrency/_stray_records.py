"""What a `TaskWatch` has found: counted by kind and site, bounded, in whichever thread it was found."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from hasten._core.signals import Stray, StrayKind

_DRIVER = str(Path(__file__).parents[1] / "ledger" / "_drive.py")
_OTHER = "other"
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class TaskWatchStatistics:
    """What a watch has found since it was made.

    Attributes:
      failed, destroyed, never_awaited, unheld: Of each kind of `Stray`.
    """

    failed: int
    destroyed: int
    never_awaited: int
    unheld: int


class Strays:
    """The last `Stray` of each kind and site; the sites beyond a bound are one, `other`.

    Garbage collections call in, on any line of any thread, this one's too: nothing here takes a lock.

    Args:
      most: Sites.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: dict[tuple[StrayKind, str], Stray] = {}
        self._counts: Counter[StrayKind] = Counter()

    def note(self, kind: StrayKind, site: str, coroutine: str, error: str) -> Stray:
        """Count one; returns the record of it."""
        self._counts[kind] += 1
        key = kind, site
        if key not in self._last and len(self._last) >= self._most:
            site = coroutine = _OTHER
            key = kind, site
        last = self._last.get(key)
        stray = Stray(kind, site, coroutine, error, 1 if last is None else last.count + 1)
        self._last[key] = stray
        return stray

    def all(self) -> tuple[Stray, ...]:
        """Return the last one of each kind and site, in any thread."""
        return tuple(self._last.copy().values())

    def statistics(self) -> TaskWatchStatistics:
        """Return the counts, in any thread."""
        counts = self._counts
        return TaskWatchStatistics(counts["failed"], counts["destroyed"], counts["never-awaited"], counts["unheld"])


def place_of(coroutine: Any, directory: str) -> tuple[str, str]:
    """Return the file where a coroutine was made and that place in one line; where it is defined, if that is not known.

    Of a driver of the ledger's that cannot be seen through any more it is the name of what it has run.

    Args:
      directory: Ends with a slash; paths are relative to it where they lie within.
    """
    code, origin = getattr(coroutine, "cr_code", None), getattr(coroutine, "cr_origin", None)
    if not isinstance(code, CodeType) or code.co_filename == _DRIVER:
        return "", str(getattr(coroutine, "__qualname__", ""))
    if origin:
        file, line, function = origin[0]
    else:
        file, line, function = code.co_filename, code.co_firstlineno, code.co_name
    return file, f"{file.removeprefix(directory)}:{line} {function}"


def within_driver(coroutine: Any, error: BaseException | None) -> Any:
    """Return the coroutine that the ledger's driver runs, where it is one: the ledger's line tells nobody anything."""
    code = getattr(coroutine, "cr_code", None)
    if not isinstance(code, CodeType) or code.co_filename != _DRIVER:
        return coroutine
    frame = coroutine.cr_frame
    trace = None if error is None else error.__traceback__
    while frame is None and trace is not None:  # it has ended: the error's traceback has its frame
        if trace.tb_frame.f_code is code:
            frame = trace.tb_frame
        trace = trace.tb_next
    return coroutine if frame is None else frame.f_locals.get("coroutine", coroutine)


def in_one_line(error: BaseException | None) -> str:
    """Return an error as `ValueError: no such item`, in printable characters and not too long; empty for none."""
    if error is None:
        return ""
    try:
        text = str(error)
    except Exception:
        text = "?"
    line = "".join(each if each.isprintable() else " " for each in text[: _LONGEST + 1])
    return f"{type(error).__name__}: {line[:_LONGEST]}{'…' if len(line) > _LONGEST else ''}"


def is_library(file: str, prefixes: tuple[str, ...]) -> bool:
    """Tell whether a file is none of the app's: of a package that is installed, or of Python."""
    return "/site-packages/" in file or "/dist-packages/" in file or file.startswith(prefixes) or file.startswith("<")

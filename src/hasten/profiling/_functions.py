"""What each function took: of stacks, or of what an engine without stacks has told. Pure."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from hasten.profiling._profile import Frame, Function, Profile, Stack

_INSTALLED = re.compile(
    r"/(?:site|dist)-packages/|/lib(?:64)?/python\d\.\d+/|/bin/[^/]+$|^<frozen |\.so(?:$|[.\d])|\.pyx$"
)
_HASTEN = str(Path(__file__).parents[1]) + os.sep
_Key = tuple[str, str]


def functions(profile: Profile, *, endpoint: str = "") -> tuple[Function, ...]:
    """Return what each function took, those with the most seconds of their own first.

    A function has one entry for each kind of time that it took itself, all of which tell the same `total`. Where lines
    of it were added up, the frame's line is the one that most was spent in.

    Args:
      endpoint: Of requests of this one alone; empty for everything.
    """
    part = profile.of_endpoint(endpoint) if endpoint else profile
    found = _of_stacks(part.stacks) if part.stacks else _added_up(part.functions)
    return tuple(sorted(found, key=lambda one: (-one.own, -one.total, one.frame.function, one.frame.file, one.kind)))


def answered(profile: Profile, *, endpoint: str = "") -> int:
    """Return the requests that a profile's seconds are divided by to be those of one request; 0 if unknown."""
    return sum(one.count for one in profile.requests if not endpoint or one.endpoint == endpoint)


def _may_be_due(frame: Frame) -> bool:
    return frame.function != "<module>" and not is_library(frame)  # a command's script calls all, and is due to nothing


def is_sampled(profile: Profile) -> bool:
    """Tell whether a profile's seconds are samples counted; the ledger, which knows kinds, measures most of them."""
    return profile.interval > 0 and not any(stack.kind for stack in profile.stacks)


def seconds_of_sample(profile: Profile) -> float:
    """Return what one sample counts on average: its interval, or less of threads that did not run all of it."""
    count = sum(stack.count for stack in profile.stacks)
    return profile.spent / count if is_sampled(profile) and count else profile.interval


def is_library(frame: Frame) -> bool:
    """Tell whether a frame is of an installed package, the standard library or C, and not of the user's own code."""
    file = frame.file.replace("\\", "/")
    if not file or file.startswith(("<", _HASTEN)) or _INSTALLED.search(file):
        return True
    if file.startswith(("/", "./")) or file[1:3] == ":/":
        return False
    top = file.partition("/")[0].removesuffix(".py")  # py-spy shortens paths to those within sys.path
    return top in sys.stdlib_module_names


def short_place(frame: Frame) -> str:
    """Return a frame's file and line: an installed package's from its folder on, of others the last two parts."""
    file = frame.file.replace("\\", "/")
    short = re.split(r"/(?:site|dist)-packages/", file)[-1]
    if short == file:
        short = re.split(r"/lib(?:64)?/python\d\.\d+/", file)[-1]
    if short == file and (file.startswith("/") or file[1:3] == ":/"):
        short = "/".join(file.split("/")[-2:])
    return f"{short}:{frame.line}" if short and frame.line else short


def callers(profile: Profile, *, endpoint: str = "") -> dict[tuple[str, str, str], Frame]:
    """Return by function, file and kind, of libraries' functions, the user's code that most of that time is due to.

    Of a library's function this is what a reader can change; what no such code has called is left out.
    """
    spent: dict[tuple[str, str, str], dict[Frame, float]] = {}
    for stack in profile.stacks:
        if (endpoint and stack.endpoint != endpoint) or not stack.frames or not is_library(stack.frames[-1]):
            continue
        caller = next((frame for frame in reversed(stack.frames) if _may_be_due(frame)), None)
        if caller is not None:
            inner = stack.frames[-1]
            found = spent.setdefault((inner.function, inner.file, stack.kind), {})
            found[caller] = found.get(caller, 0.0) + stack.seconds
    return {key: max(found, key=lambda frame: found[frame]) for key, found in spent.items()}


class _Spent:
    """What is known of one function while it is added up."""

    __slots__ = ("kinds", "lines", "total", "total_count")

    def __init__(self) -> None:
        self.total = 0.0
        self.total_count = 0
        self.kinds: dict[str, tuple[float, int]] = {}
        self.lines: dict[int, float] = {}


def _of_stacks(stacks: Iterable[Stack]) -> list[Function]:
    spent: dict[_Key, _Spent] = {}
    for stack in stacks:
        frames = stack.frames or (Frame("(no frame)"),)
        for key, line in {(frame.function, frame.file): frame.line for frame in frames}.items():  # recursion once
            one = spent.get(key)
            if one is None:
                one = spent[key] = _Spent()
            one.total += stack.seconds
            one.total_count += stack.count
            one.lines[line] = one.lines.get(line, 0.0) + stack.seconds
        inner = frames[-1]
        kinds = spent[inner.function, inner.file].kinds
        seconds, count = kinds.get(stack.kind, (0.0, 0))
        kinds[stack.kind] = seconds + stack.seconds, count + stack.count
    return [function for (name, file), one in spent.items() for function in _told(name, file, one)]


def _told(name: str, file: str, one: _Spent) -> Iterable[Function]:
    frame = Frame(name, file, max(one.lines, key=lambda line: one.lines[line]))
    if not one.kinds:
        yield Function(frame, 0.0, one.total, one.total_count)
    for kind, (seconds, count) in one.kinds.items():
        yield Function(frame, seconds, one.total, count, kind=kind)


def _added_up(told: Iterable[Function]) -> list[Function]:
    """Return functions that an engine has told, those of several endpoints as one."""
    spent: dict[tuple[Frame, str], Function] = {}
    for one in told:
        key = one.frame, one.kind
        before = spent.get(key)
        if before is None:
            spent[key] = msgspec.structs.replace(one, endpoint="")
        else:
            spent[key] = Function(
                one.frame,
                before.own + one.own,
                before.total + one.total,
                before.count + one.count,
                kind=one.kind,
            )
    return list(spent.values())

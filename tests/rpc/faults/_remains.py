"""What calls have left behind: live objects, scheduled timers, containers that are not empty."""

import asyncio
import gc
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any

from hasten.rpc.channel._call import ClientCall
from hasten.rpc.server._call import ServerCall
from hasten.rpc.transport._inbox import Inbox

_FUNCTION = re.compile(r"([\w.]+?)(?:\(|>)")
_CONTAINERS = (dict, OrderedDict, set, deque, list, bytearray, tuple, frozenset)
_GROWING = (dict, OrderedDict, set, deque, list, bytearray)


def live_calls() -> list[object]:
    """Return the calls and inboxes that are alive after a garbage collection."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, ClientCall | ServerCall | Inbox)]


def other_tasks() -> set["asyncio.Task[Any]"]:
    """Return all tasks but the one that runs."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


class Timers:
    """Records what is scheduled in the running loop from now on, for any kind of loop."""

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self._handles: list[asyncio.TimerHandle] = []
        loop.call_later = self._recorded(loop.call_later)
        loop.call_at = self._recorded(loop.call_at)

    def _recorded(self, schedule: Callable[..., asyncio.TimerHandle]) -> Callable[..., asyncio.TimerHandle]:
        def record(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
            handle = schedule(*arguments, **options)
            self._handles.append(handle)
            return handle

        return record

    @property
    def pending(self) -> Counter[str]:
        """What is still to fire, by the names of the functions."""
        now = asyncio.get_running_loop().time()
        handles = {id(each): each for each in self._handles if not each.cancelled() and each.when() > now}
        self._handles = list(handles.values())
        return Counter(_FUNCTION.search(repr(each))[1] for each in self._handles)  # type: ignore[index]


def filled_containers(*roots: object) -> dict[str, int]:
    """Return the sizes of all growing containers that are not empty below objects of hasten.rpc, by their paths."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    left: list[tuple[str, object]] = [(type(root).__name__, root) for root in roots]
    while left:
        path, value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _GROWING) and value:
            found[path] = max(len(value), found.get(path, 0))
        left += [(path + name, child) for name, child in _children(value)]
    return found


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from (("[]", each) for pair in value.items() for each in pair)
    elif isinstance(value, _CONTAINERS) and not isinstance(value, bytearray):
        yield from (("[]", each) for each in value)
    elif type(value).__module__.startswith("hasten."):
        names = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
        names |= set(getattr(value, "__dict__", ()))
        yield from ((f".{name}", getattr(value, name)) for name in sorted(names) if hasattr(value, name))

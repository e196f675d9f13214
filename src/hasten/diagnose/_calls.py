"""Which calls run when a function runs: its own, and those of the project's functions that it calls."""

import ast
from collections.abc import Callable, Iterable, Iterator

from hasten.diagnose._definitions import CallSite, Function

FOLLOWED = 3
"""How many functions away a call is followed."""


def executed(function: Function, enter: Callable[[Function], bool], depth: int = FOLLOWED) -> Iterator[CallSite]:
    """Yield the calls that `function` makes, itself or in functions of the project that it calls, each once.

    Args:
      enter: Tells whether a called function of the project is to be followed.
      depth: Functions followed, one below the other.
    """
    seen = {function}
    waiting = [(function, 0)]
    while waiting:
        current, level = waiting.pop(0)
        for call in current.calls:
            yield call
            target = call.target
            if target is not None and target not in seen and level < depth and enter(target):
                seen.add(target)
                waiting.append((target, level + 1))


def reached(nodes: Iterable[ast.AST], function: Function, depth: int = FOLLOWED) -> tuple[tuple[str, str], ...]:
    """Return the project's functions that run, directly or not, when these nodes of `function` run."""
    inside = {id(node) for root in nodes for node in ast.walk(root)}
    targets = [call.target for call in function.calls if id(call.node) in inside and call.target is not None]
    places: dict[tuple[str, str], None] = {}
    for target in targets:
        places[target.place] = None
        for call in executed(target, lambda _: True, depth - 1):
            if call.target is not None:
                places[call.target.place] = None
    return tuple(places)

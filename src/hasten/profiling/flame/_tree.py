"""Stacks as a tree: one node for all that was called along the same way; what is too narrow is put together. Pure.

The tree is grown from the root outwards, and what is too narrow is never entered: twenty thousand stacks have half a
million nodes, of which a page shows a few thousand.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

NARROWEST = 1 / 4000
"""Share of its endpoint's width that a frame needs to be drawn."""
MOST_NODES = 40_000
"""Nodes in all; where there are more, what is narrow ends earlier."""
DEEPEST = 300
"""Frames of a stack that are drawn."""
ENDPOINT, FUNCTION, KIND, SMALLER = range(4)


class Step(NamedTuple):
    """What stands at one level of a stack.

    Attributes:
      role: ENDPOINT, FUNCTION, KIND or SMALLER.
    """

    role: int
    name: str
    file: str = ""


class Path(NamedTuple):
    """A stack on its way into the tree, with the lines of its steps; `before` is 0.0 where nothing is compared."""

    steps: Sequence[Step]
    lines: Sequence[int]
    before: float
    after: float

    @property
    def weight(self) -> float:
        return self.before + self.after


class Node(NamedTuple):
    """A place in the tree.

    Attributes:
      before, after: Seconds, with all below it.
      line: Where most of it stands.
      hidden: Stacks that it stands for, none of which can be seen.
    """

    depth: int
    step: Step
    line: int
    before: float
    after: float
    hidden: int = 0


class _Growing(NamedTuple):
    """A node, and the paths that go through it."""

    depth: int
    step: Step
    paths: list[Path]
    least: float


def grow(paths: Iterable[Path]) -> list[Node]:
    """Return the nodes in preorder: functions first, the widest first, then kinds of time, then what is smaller."""
    told, narrowest = [path for path in paths if path.weight > 0], NARROWEST
    while True:
        grown = _grown(told, narrowest)
        if grown is not None:
            return [_node(one) for one in grown]
        narrowest *= 2


def _grown(paths: list[Path], narrowest: float) -> list[_Growing] | None:
    """Return the nodes; None where they are too many."""
    grown: list[_Growing] = []
    whole = sum(path.weight for path in paths)
    waiting = [_Growing(0, Step(ENDPOINT, ""), paths, whole * narrowest)]
    while waiting:
        one = waiting.pop()
        if len(grown) >= MOST_NODES:
            return None
        grown.append(one)
        if one.step.role not in {KIND, SMALLER}:
            waiting += reversed(_children(one, narrowest))
    return grown


def _node(one: _Growing) -> Node:
    before, after = sum([path.before for path in one.paths]), sum([path.after for path in one.paths])
    hidden = len(one.paths) if one.step.role == SMALLER else 0
    return Node(one.depth, one.step, _line(one), before, after, hidden)


def _children(parent: _Growing, narrowest: float) -> list[_Growing]:
    depth = parent.depth
    groups: dict[Step, list[Path]] = {}
    for path in parent.paths:
        if len(path.steps) > depth:
            step = path.steps[depth]
            if step in groups:
                groups[step].append(path)
            else:
                groups[step] = [path]
    if depth >= DEEPEST and groups:
        return [
            _Growing(depth + 1, Step(SMALLER, "(deeper)"), [path for group in groups.values() for path in group], 0.0)
        ]
    weights = {step: sum([path.weight for path in group]) for step, group in groups.items()}
    shown = [step for step in groups if weights[step] >= parent.least]
    shown.sort(key=lambda step: (step.role, -weights[step], step.name, step.file))
    children = [
        _Growing(depth + 1, step, groups[step], weights[step] * narrowest if step.role == ENDPOINT else parent.least)
        for step in shown
    ]
    if len(shown) < len(groups):
        small = [path for step, group in groups.items() if weights[step] < parent.least for path in group]
        children.append(_Growing(depth + 1, Step(SMALLER, "(smaller)"), small, 0.0))
    return children


def _line(one: _Growing) -> int:
    if one.step.role != FUNCTION:
        return 0
    lines: dict[int, float] = {}
    for path in one.paths:
        line = path.lines[one.depth - 1]
        lines[line] = lines.get(line, 0.0) + path.weight
    return max(lines, key=lambda line: lines[line])

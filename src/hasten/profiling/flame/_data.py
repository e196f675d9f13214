"""What the page's script reads: the tree as columns of numbers, tables of functions, and all texts. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from hasten.profiling._diff import Change, Difference, StackChange, changes
from hasten.profiling._functions import callers, functions, is_library, is_sampled, seconds_of_sample, short_place
from hasten.profiling._profile import Frame, Function, Profile, Stack
from hasten.profiling.flame._tree import ENDPOINT, FUNCTION, KIND, Node, Path, Step, grow

_ROWS = 200
"""Of each table those that are first by their own time, and as many by their total."""
_TABLES = 40  # endpoints that have one
_FINEST = 1e8  # parts that the widest node is told in
_LONGEST = 400  # characters of a name or a label; behind it nobody reads


class Tree(msgspec.Struct, frozen=True):
    """Nodes in preorder, one column for each of their parts.

    Attributes:
      unit: Seconds that 1 stands for in `before` and `after`.
      step: Number of what stands there, in `Page.steps`.
      before: Empty where nothing is compared.
      hidden: How many stacks it stands for, by the number of a node that shows none of them.
    """

    unit: float
    depth: list[int]
    step: list[int]
    line: list[int]
    after: list[int]
    before: list[int]
    hidden: dict[int, int]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One function in a table.

    Attributes:
      place: File and line, or what calls a library's function.
      own, total: Seconds after; `own_before` and `total_before` where something is compared.
      kinds: Own seconds by kind of time; of what is compared those before and after.
      sure: Whether a change is beyond chance.
    """

    name: str
    place: str
    library: bool
    own: float
    total: float
    count: int
    kinds: dict[str, tuple[float, float]]
    own_before: float = 0.0
    total_before: float = 0.0
    sure: bool = True


class Scope(msgspec.Struct, frozen=True):
    """Everything, or one endpoint.

    Attributes:
      name: Empty for everything.
      units: What seconds are divided by to be those of one request, or of one second; 0 where that is not known.
      spent: Seconds in all of it.
    """

    name: str
    units: float
    spent: float
    spent_before: float
    rows: list[Row]
    left_out: int


class Page(msgspec.Struct, frozen=True):
    """All that the script needs.

    Attributes:
      per: `request`, `second`, or empty where seconds can be divided by neither.
      steps: Role, name, place and whether it is a library's, of what may stand in the tree.
      sample: Seconds that a sample counts; 0.0 where nothing was sampled.
      hidden: Stacks that are not drawn to their end.
    """

    compared: bool
    per: str
    sample: float
    steps: list[tuple[int, str, str, bool]]
    tree: Tree | None
    scopes: list[Scope]
    kinds: list[str]
    hidden: int


def profile_data(profile: Profile) -> Page:
    """Return what is shown of a profile."""
    nodes = grow(_paths((stack, 0.0, stack.seconds) for stack in profile.stacks))
    steps, tree = _tree(nodes, compared=False)
    scopes = [_scope(profile, name) for name in ("", *profile.endpoints()[:_TABLES])]
    return Page(
        compared=False,
        per="request" if profile.answered else "second" if profile.seconds else "",
        sample=seconds_of_sample(profile) if is_sampled(profile) else 0.0,
        steps=steps,
        tree=tree if profile.stacks else None,
        scopes=scopes,
        kinds=_kinds(one.kind for one in profile.stacks or profile.functions),
        hidden=sum(tree.hidden.values()),
    )


def difference_data(difference: Difference) -> Page:
    """Return what is shown of two profiles."""
    nodes = grow(_paths((stack, stack.before, stack.after) for stack in difference.stacks))
    steps, tree = _tree(nodes, compared=True)
    whole = Scope("", 1.0, difference.after.spent, difference.before.spent, *_limited(_changed(difference.changes)))
    parts = [_part(difference, name) for name in list(difference.mix)[:_TABLES] if not difference.endpoint]
    parts.sort(key=lambda scope: -scope.spent - scope.spent_before)
    return Page(
        compared=True,
        per=difference.per,
        sample=0.0,
        steps=steps,
        tree=tree if difference.stacks else None,
        scopes=[whole, *parts],
        kinds=_kinds(one.kind for one in difference.changes),
        hidden=sum(tree.hidden.values()),
    )


def _kinds(told: Iterable[str]) -> list[str]:
    return sorted(set(told) - {""})


def cut(text: str, longest: int = _LONGEST) -> str:
    """Return a text that is not too long to be shown."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


# ---- the tree


def _paths(stacks: Iterable[tuple[Stack | StackChange, float, float]]) -> Iterator[Path]:
    known: dict[Frame, Step] = {}
    for stack, before, after in stacks:
        steps, lines = [], []
        if stack.endpoint:
            steps.append(Step(ENDPOINT, stack.endpoint))
            lines.append(0)
        for frame in stack.frames:
            step = known.get(frame)
            if step is None:
                step = known[frame] = Step(FUNCTION, frame.function, frame.file)
            steps.append(step)
            lines.append(frame.line)
        if stack.kind:
            steps.append(Step(KIND, stack.kind))
            lines.append(0)
        yield Path(steps, lines, before, after)


def _tree(nodes: list[Node], *, compared: bool) -> tuple[list[tuple[int, str, str, bool]], Tree]:
    unit = max(nodes[0].before + nodes[0].after, 1e-9) / _FINEST
    numbers: dict[Step, int] = {}
    hidden = {number: node.hidden for number, node in enumerate(nodes) if node.hidden}
    tree = Tree(
        unit=unit,
        depth=[node.depth for node in nodes],
        step=[numbers.setdefault(node.step, len(numbers)) for node in nodes],
        line=[node.line for node in nodes],
        after=[round(node.after / unit) for node in nodes],
        before=[round(node.before / unit) for node in nodes] if compared else [],
        hidden=hidden,
    )
    return [_told(step) for step in numbers], tree


def _told(step: Step) -> tuple[int, str, str, bool]:
    frame = Frame(step.name, step.file)
    library = step.role == FUNCTION and is_library(frame)
    return step.role, cut(step.name), cut(short_place(frame)), library


# ---- the tables


def _scope(profile: Profile, endpoint: str) -> Scope:
    part = profile.of_endpoint(endpoint) if endpoint else profile
    units = float(part.answered) or (0.0 if endpoint else profile.seconds)
    return Scope(endpoint, units, part.spent, 0.0, *_limited(_rows(part)))


def _rows(profile: Profile) -> Iterator[Row]:
    due = callers(profile)
    by_function: dict[tuple[str, str], list[Function]] = {}
    for one in functions(profile):
        by_function.setdefault((one.frame.function, one.frame.file), []).append(one)
    for found in by_function.values():
        first = found[0]
        caller = due.get((first.frame.function, first.frame.file, first.kind))
        yield Row(
            name=cut(first.frame.function),
            place=_place(first.frame, caller),
            library=is_library(first.frame),
            own=sum(one.own for one in found),
            total=max(one.total for one in found),
            count=sum(one.count for one in found),
            kinds={one.kind: (0.0, one.own) for one in found if one.kind and one.own},
        )


def _place(frame: Frame, caller: Frame | None) -> str:
    return cut(f"by {short_place(caller)}" if caller else short_place(frame))


def _limited(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Return the rows that are first by their own time or by their total."""
    told = list(rows)
    own = sorted(told, key=lambda row: -abs(row.own - row.own_before))[:_ROWS]
    total = sorted(told, key=lambda row: -max(row.total, row.total_before))[:_ROWS]
    kept = {id(row): row for row in own + total}
    return list(kept.values()), len(told) - len(kept)


def _part(difference: Difference, endpoint: str) -> Scope:
    """Return what changed of one endpoint. Its seconds are still those of a request of all endpoints."""
    stacks = [stack for stack in difference.stacks if stack.endpoint == endpoint]
    before = _side((one, one.before) for one in stacks)
    after = _side((one, one.after) for one in stacks)
    rows = _limited(_changed(changes(before, after)))
    return Scope(endpoint, difference.mix[endpoint], after.spent, before.spent, *rows)


def _side(stacks: Iterable[tuple[StackChange, float]]) -> Profile:
    told = tuple(Stack(one.frames, seconds, 1, one.endpoint, one.kind) for one, seconds in stacks if seconds)
    return Profile(engine="", clock="", stacks=told)


def _changed(told: Iterable[Change]) -> Iterator[Row]:
    by_function: dict[tuple[str, str], list[Change]] = {}
    for one in told:
        by_function.setdefault((one.frame.function, one.frame.file), []).append(one)
    for found in by_function.values():
        first = found[0]
        yield Row(
            name=cut(first.frame.function),
            place=_place(first.frame, first.caller),
            library=is_library(first.frame),
            own=sum(one.after for one in found),
            total=first.total_after,
            count=0,
            kinds={one.kind: (one.before, one.after) for one in found if one.kind and one.before + one.after},
            own_before=sum(one.before for one in found),
            total_before=first.total_before,
            sure=any(one.sure for one in found),
        )

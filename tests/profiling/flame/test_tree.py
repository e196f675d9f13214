"""Stacks as a tree: merged, ordered, bounded."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.profiling.flame import _tree
from hasten.profiling.flame._tree import DEEPEST, ENDPOINT, FUNCTION, KIND, SMALLER, Node, Path, Step, grow


def _path(names: str, after: float, before: float = 0.0, *, kind: str = "", endpoint: str = "") -> Path:
    steps = [Step(FUNCTION, name) for name in names]
    if endpoint:
        steps.insert(0, Step(ENDPOINT, endpoint))
    if kind:
        steps.append(Step(KIND, kind))
    return Path(steps, [1] * len(steps), before, after)


def _shown(nodes: Iterable[Node]) -> list[tuple[int, str]]:
    return [(node.depth, node.step.name) for node in nodes]


def test_what_was_called_alike_is_one_node_and_the_widest_stands_first() -> None:
    """Stacks share the nodes of their common beginning; functions come before kinds of time, the widest first."""
    nodes = grow([_path("ab", 1), _path("ac", 2), _path("a", 4, kind="waiting"), _path("d", 5)])
    assert _shown(nodes) == [(0, ""), (1, "a"), (2, "c"), (2, "b"), (2, "waiting"), (1, "d")]
    assert [node.after for node in nodes] == [12, 7, 2, 1, 4, 5]


def test_both_sides_of_a_comparison_stand_in_one_tree() -> None:
    """What is gone and what is new have nodes as well as what stayed."""
    nodes = grow([_path("ab", 0.0, 2.0), _path("ac", 3.0)])
    assert [(node.step.name, node.before, node.after) for node in nodes[2:]] == [("c", 0.0, 3.0), ("b", 2.0, 0.0)]


def test_the_line_is_the_one_that_most_was_spent_in() -> None:
    """A function that stood at several lines is one node at the heaviest of them."""
    step = Step(FUNCTION, "f")
    nodes = grow([Path([step], [line], 0.0, seconds) for line, seconds in ((3, 1.0), (9, 2.0), (3, 0.5))])
    assert nodes[1].line == 9


def test_what_is_too_narrow_stands_together_and_is_counted() -> None:
    """Frames below a part of four thousand become one, which says how many stacks it stands for."""
    nodes = grow([_path("a", 4000.0), *(_path(name, 0.4) for name in "bcd")])
    assert _shown(nodes) == [(0, ""), (1, "a"), (1, "(smaller)")]
    assert (nodes[2].hidden, nodes[2].step.role) == (3, SMALLER)
    assert nodes[2].after == pytest.approx(1.2)


def test_an_endpoint_that_takes_little_keeps_its_details() -> None:
    """What is narrow is so by the width of its endpoint, which a reader can zoom to."""
    nodes = grow(
        [_path("a", 1e4, endpoint="GET /a"), _path("bc", 3.0, endpoint="GET /b"), _path("bd", 2.0, endpoint="GET /b")]
    )
    assert "c" in [node.step.name for node in nodes]
    assert "d" in [node.step.name for node in nodes]


def test_a_stack_of_any_depth_is_drawn_to_a_bound() -> None:
    """Endless recursion ends in (deeper), with all of its seconds."""
    nodes = grow([_path("a" * 50_000, 2.0)])
    assert len(nodes) == DEEPEST + 2
    assert (nodes[-1].step.name, nodes[-1].after) == ("(deeper)", 2.0)


def test_there_are_never_more_nodes_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where very many frames are wide enough, what is narrow ends earlier."""
    monkeypatch.setattr(_tree, "MOST_NODES", 100)
    nodes = grow([Path([Step(FUNCTION, f"f{number}")], [1], 0.0, 1.0 + number / 500) for number in range(500)])
    assert len(nodes) <= 100
    assert nodes[0].after == pytest.approx(sum(node.after for node in nodes[1:]))


def test_nothing_is_a_root_alone() -> None:
    """A profile without a stack, or of stacks without time, has a root of no width."""
    assert _shown(grow([])) == _shown(grow([_path("a", 0.0)])) == [(0, "")]


@given(st.lists(st.tuples(st.text("abc", max_size=6), st.floats(0.0, 1e6), st.floats(0.0, 1e6)), max_size=30))
def test_children_are_never_wider_than_their_parent(told: list[tuple[str, float, float]]) -> None:
    """All that is below a node fits in it, and depths grow by one."""
    nodes = grow([_path(names, after, before) for names, after, before in told])
    for number, node in enumerate(nodes):
        below = 0.0
        for other in nodes[number + 1 :]:
            if other.depth <= node.depth:
                break
            if other.depth == node.depth + 1:
                below += other.after + other.before
        assert below <= (node.after + node.before) * (1 + 1e-9)
        if number:
            assert node.depth <= nodes[number - 1].depth + 1

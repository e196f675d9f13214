"""What requests that ran alike have in common, worked out once: the kinds of time at which sites, in which order.

Most requests are undisturbed: one task, no hold, no collection, no thread, no long step. Two of them that were
suspended at the same places differ in their seconds alone. So the lines of an account without their seconds are kept
for each course, and a request adds up its seconds by them: beside a service's code, 2.9 µs on a hello route, where
the attribution of each request on its own took 5.5.
"""

from collections.abc import Sequence

import msgspec

from hasten.ledger._account import Kind, Line, Site
from hasten.ledger._attribution import KIND_OF, KINDS, UNREAD, Attribution
from hasten.ledger._loop_state import LoopState
from hasten.ledger._records import STRIDE, RequestRecord

_MOST_SHAPES = 512
_LONGEST = 128 * STRIDE  # numbers; so long a course hardly comes twice


class Shape:
    """The lines of an account without their seconds.

    Attributes:
      keys: Key of each line (see `_attribution`), in order of first appearance.
      lines: Kind, site and count of each line.
      course: Index into `keys` of each stretch of the timeline.
    """

    __slots__ = ("course", "keys", "lines")

    def __init__(self, attribution: Attribution, sites: Sequence[Site]) -> None:
        counts = attribution.counts
        self.keys = tuple(attribution.seconds)
        index = {key: number for number, key in enumerate(self.keys)}
        self.course = tuple([index[key] for key, _ in attribution.timeline])
        self.lines: tuple[tuple[Kind, Site, int], ...] = tuple(
            [(KIND_OF[key % KINDS], sites[key // KINDS], counts[key] or 1) for key in self.keys]
        )


class Breakdown(msgspec.Struct, frozen=True, gc=False):
    """Where the time of one request went: seconds of each of the shape's lines, and of each stretch of its course."""

    shape: Shape
    seconds: Sequence[float]
    parts: Sequence[float]

    def lines(self) -> tuple[tuple[Line, ...], tuple[tuple[int, float], ...]]:
        """Return an account's lines, largest first, and its timeline."""
        shape, seconds = self.shape, self.seconds
        order = sorted(range(len(seconds)), key=seconds.__getitem__, reverse=True)
        place = [0] * len(order)
        lines: list[Line] = []
        for number in order:
            kind, site, count = shape.lines[number]
            place[number] = len(lines)
            lines.append(Line(kind, site, seconds[number], count))
        parts = zip(shape.course, self.parts, strict=True)
        return tuple(lines), tuple([(place[number], part) for number, part in parts])


class Shapes:
    """The shapes met so far; it begins anew when they are 512."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, ...], Shape] = {}

    def attribute(self, request: RequestRecord, state: LoopState, handler: int) -> Breakdown:
        """Return where the request's time went: from its start to its last byte, or to its root's last step.

        Args:
          handler: Site of the endpoint's function when it runs on the loop, else OWN.
        """
        end = request.end
        if not _undisturbed(request, state, end):
            return _alone(request, state, handler, end)
        task = request.tasks[0]
        steps = task.steps
        # The code's id may be another's that is gone: the site table keeps the code of every line that goes by it.
        key = (handler, id(task.code), task.site, *steps[4::STRIDE])
        shape = self._shapes.get(key)
        if shape is None:
            breakdown = _alone(request, state, handler, end)
            if len(breakdown.parts) == 2 * len(steps) // STRIDE:  # not when rounding has left something unexplained
                self._keep(key, breakdown.shape)
            return breakdown
        parts: list[float] = []
        for at in range(0, len(steps), STRIDE):
            since, resumed, ended = steps[at : at + 3]
            parts += (resumed - since, ended - resumed)
        parts[-1] += end - ended
        if len(shape.keys) == len(parts):  # each stretch is a line of its own
            return Breakdown(shape, parts, parts)
        seconds = [0.0] * len(shape.keys)
        for number, part in zip(shape.course, parts, strict=True):
            seconds[number] += part
        return Breakdown(shape, seconds, parts)

    def _keep(self, key: tuple[int, ...], shape: Shape) -> None:
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        self._shapes[key] = shape


def _undisturbed(request: RequestRecord, state: LoopState, end: float) -> bool:
    """Tell whether the request is one task's steps and waits in turn and ends within the last of them."""
    tasks, started = request.tasks, request.started
    task = tasks[0]
    steps = task.steps
    return (
        len(tasks) == 1
        and 0 < len(steps) <= _LONGEST
        and steps[1 - STRIDE] <= end <= steps[2 - STRIDE]
        and task.created == started
        and not (task.stalls or request.threads or request.unread)
        and not (state.holds and state.holds[-1].end > started)
        and not (state.pauses and state.pauses[-1].end > started)
    )


def _alone(request: RequestRecord, state: LoopState, handler: int, end: float) -> Breakdown:
    """Attribute one request on its own."""
    attribution = Attribution(request, state, handler)
    attribution.cover(request.started, end)
    seconds = attribution.seconds
    if request.unread:
        key = request.unread_site * KINDS + UNREAD
        seconds[key], attribution.counts[key] = request.unread, 1
    shape = Shape(attribution, state.sites.sites)
    return Breakdown(shape, list(seconds.values()), [part for _, part in attribution.timeline])

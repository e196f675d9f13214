"""From the parts of services to rows, each below what it is within: pure arithmetic over spans."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hasten._core.tracing import span_id_of
from hasten.ledger import Account, Kind, Line
from hasten.monitor import Part, Work
from hasten.waterfall._parts import Bar, Row, Sent, Waterfall

MOST_LINES = 12
"""Of an account; the rest is one row."""
_UNPLACED = {Kind.COLLECTING: "garbage collection", Kind.UNREAD: "in the kernel", Kind.UNEXPLAINED: "no record of it"}
_SMALLEST_SHARE = 0.01  # of a request's time: lines below are in the rest


class _Node:
    """A piece of work with its place in time.

    Attributes:
      shift: Seconds to be added to its clock.
    """

    def __init__(self, part: Part, work: Work) -> None:
        self.part = part
        self.work = work
        self.start = 0.0
        self.shift = 0.0
        self.placed = False


def build(sent: Sent, parts: Sequence[Part], boot: str) -> Waterfall:
    """Return the waterfall of a request.

    Args:
      parts: Of the services that know the trace, in any order; the same work told twice counts once.
      boot: Of the machine that has sent it.
    """
    nodes = _nodes(parts)
    children: dict[str, list[_Node]] = {}
    for node in nodes.values():
        children.setdefault(node.work.parent if node.work.parent in nodes else "", []).append(node)
    rows = [_client_row(sent)]
    for node in _in_order(children.get("", [])):
        rows += _rows(node, children, sent, boot, None, 1)
    end = max((bar.start + bar.seconds for row in rows for bar in row.bars), default=sent.seconds)
    return Waterfall(sent=sent, rows=tuple(rows), seconds=end, notes=tuple(_notes(sent, nodes.values())))


def _nodes(parts: Iterable[Part]) -> dict[str, _Node]:
    found: dict[str, _Node] = {}
    for part in parts:
        for work in part.works:
            known = found.get(work.span)
            if known is None or (known.work.account is None and work.account is not None):
                found[work.span] = _Node(part, work)
    return found


def _notes(sent: Sent, nodes: Iterable[_Node]) -> Iterator[str]:
    works = [node.work for node in nodes]
    if not any(work.parent == span_id_of(sent.traceparent) for work in works):
        yield "The service that was asked has told nothing of it: name its admin port with --admin."
    elif not any(work.account is not None for work in works):
        yield "No service has said where the time of its request went: its ledger is off, or a capture is under way."


def _in_order(nodes: Iterable[_Node]) -> list[_Node]:
    return sorted(nodes, key=lambda node: node.work.started)


def _client_row(sent: Sent) -> Row:
    bars = (Bar(0.0, sent.seconds),)
    return Row(
        depth=0,
        service="client",
        name=f"{sent.method} {sent.url}",
        kind="client",
        outcome=str(sent.status),
        bars=bars,
        seconds=sent.seconds,
    )


def _rows(
    node: _Node, children: dict[str, list[_Node]], sent: Sent, boot: str, within: _Node | None, depth: int
) -> Iterator[Row]:
    """Yield the rows of a piece of work, and of all that is within it."""
    _place(node, sent, boot, within)
    work = node.work
    yield Row(
        depth=depth,
        service=node.part.service,
        name=work.name if not work.peer else f"{work.name} {work.peer}",
        kind=work.kind,
        outcome=work.outcome,
        bars=(Bar(node.start, work.seconds),),
        seconds=work.seconds,
        placed=node.placed,
    )
    if work.account is not None:
        yield from _lines(node, work.account, depth + 1)
    for child in _in_order(children.get(work.span, [])):
        if child is not node:
            yield from _rows(child, children, sent, boot, node, depth + 1)


def _place(node: _Node, sent: Sent, boot: str, within: _Node | None) -> None:
    """Find when a piece of work began, seen from the client.

    Clocks of one machine are the same. Of another the first piece of work is put into the middle of what it is within,
    as if the way there took as long as the way back, and the others of the same machine beside it.
    """
    if within is not None and node.part.boot == within.part.boot and node.part.boot:
        node.shift, node.placed = within.shift, within.placed
    elif node.part.boot == boot and boot:
        node.shift = -sent.started
    else:
        outer, seconds = (0.0, sent.seconds) if within is None else (within.start, within.work.seconds)
        node.shift = outer + max(0.0, seconds - node.work.seconds) / 2 - node.work.started
        node.placed = True
    node.start = node.work.started + node.shift


def _lines(node: _Node, account: Account, depth: int) -> Iterator[Row]:
    """Yield where the time of a request went, largest first, each place with the stretches that it took."""
    places = [(line.kind.value, _place_of(line)) for line in account.lines]
    spent: dict[tuple[str, str], float] = {}
    for place, line in zip(places, account.lines, strict=True):
        spent[place] = spent.get(place, 0.0) + line.seconds
    bars = _bars(account, places, account.started + node.shift)
    ranked = sorted(spent, key=lambda place: -spent[place])
    shown = [place for place in ranked[:MOST_LINES] if spent[place] >= _SMALLEST_SHARE * account.wall]
    for kind, name in shown:
        place = kind, name
        yield Row(depth=depth, service="", name=name, kind=kind, bars=tuple(bars.get(place, ())), seconds=spent[place])
    if len(shown) < len(ranked):
        rest = sum(spent[place] for place in ranked if place not in shown)
        yield Row(depth=depth, service="", name=f"{len(ranked) - len(shown)} smaller", kind="", seconds=rest)


def _bars(account: Account, places: Sequence[tuple[str, str]], begun: float) -> dict[tuple[str, str], list[Bar]]:
    """Return the stretches of each place: neighbours are joined; what lay unread is before the request began."""
    found: dict[tuple[str, str], list[Bar]] = {}
    at = begun
    last = None
    for index, seconds in account.timeline:
        place = places[index]
        bars = found.setdefault(place, [])
        if place == last:
            bars[-1] = Bar(bars[-1].start, bars[-1].seconds + seconds)
        else:
            bars.append(Bar(at, seconds))
        at += seconds
        last = place
    for place, line in zip(places, account.lines, strict=True):
        if line.kind is Kind.UNREAD:
            found[place] = [Bar(begun - line.seconds, line.seconds)]
    return found


def _place_of(line: Line) -> str:
    """Return a line's place in one line of text, files relative to the working directory: `app.py:41 item · redis…`."""
    site = line.site
    called = site.library or site.leaf
    if not site.file:
        return called or _UNPLACED.get(line.kind, "code without a name")
    file = site.file.removeprefix(f"{Path.cwd()}{os.sep}")
    own = f"{file}:{site.line} {site.function}"
    return f"{own} · {called}" if called else own

"""HS302: awaits that do not need each other run in turn; together they would take as long as the longest."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from hasten.diagnose import _flow
from hasten.diagnose._calls import reached
from hasten.diagnose._definitions import Function, own_nodes
from hasten.diagnose._evidence import SUSPENDED, Column, Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import at, finding, milliseconds, payer, went_through
from hasten.diagnose._roles import per_request, words
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module

LEAST_WAIT = 0.0005
"""Seconds a request must wait at each of two awaits: below, running them together saves nothing."""

LEAST_SHARE = 0.005
"""Share of an endpoint's mean or p99 from which it counts; what is small is said to be of low severity."""


_ORDERED = frozenset({"commit", "send", "put", "publish", "set", "flush", "acquire", "release"})
"""Words of sync calls that what follows may rely on."""


@dataclass
class _Run:
    """Awaits in a row that do not depend on each other, and what their results have touched."""

    awaits: list[ast.Await] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)


class SequentialAwaits(Rule):
    """Two or more reading awaits in a row, none of which uses what an earlier one gave."""

    code = "HS302"
    name = "sequential-awaits"
    fix = "run them together: async with asyncio.TaskGroup() as group, or await asyncio.gather(...)"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each run of independent awaits."""
        for function in module.functions:
            if not function.is_async or not per_request(function):
                continue
            for block in _blocks(function):
                for run in _runs(block, function):
                    yield self._candidate(function, run)

    def _candidate(self, function: Function, run: Sequence[ast.Await]) -> Candidate:
        names = ", ".join(ast.unparse(node.value.func) for node in run[:3] if isinstance(node.value, ast.Call))
        more = ", ..." if len(run) > 3 else ""
        return Candidate(
            code=self.code,
            file=function.module.file,
            line=run[0].lineno,
            lines=tuple(node.lineno for node in run),
            function=function.qualname,
            message=f"{len(run)} awaits in a row do not need each other ({names}{more})"[:100],
            runs=tuple(reached([node], function) for node in run),
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the runs at which requests really waited more than once."""
        for candidate in candidates:
            paid = payer(went_through(evidence, candidate), partial(_cost, candidate=candidate))
            if paid is None or max(paid[1].share_mean, paid[1].share_p99) < LEAST_SHARE:
                continue
            endpoint, cost = paid
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title=f"{len(candidate.lines)} independent awaits run one after the other",
                proof=f"{cost.hurt} of {len(endpoint.accounts)} requests waited at lines "
                f"{', '.join(map(str, candidate.lines))} in turn; all but the longest wait is "
                f"{milliseconds(cost.seconds)} a request",
            )


def _blocks(function: Function) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements that run one after the other."""
    for node in (function.node, *function.nodes):
        if node is not function.node and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def _runs(block: Sequence[ast.stmt], function: Function) -> Iterator[list[ast.Await]]:
    run = _Run()
    for statement in block:
        simple = isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Return)
        if not simple or _is_conditional(statement):
            yield from _ended(run)
            run = _Run()
            continue
        waits = list(_flow.awaits(statement))
        if not waits and _passes(statement, run, function):
            continue
        for node in waits:
            follows = _follows(node, run, function)
            if not follows:
                yield from _ended(run)
                run = _Run()
            if follows or _is_reading(node, function):
                run.awaits.append(node)
        if run.awaits and waits and isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            run.touched |= _flow.written(statement)
        if not waits:
            yield from _ended(run)
            run = _Run()
    yield from _ended(run)


def _ended(run: _Run) -> Iterator[list[ast.Await]]:
    if len(run.awaits) > 1:
        yield run.awaits


def _is_conditional(statement: ast.stmt) -> bool:
    """Tell whether part of a statement's awaits may not run."""
    return any(
        isinstance(node, ast.IfExp | ast.BoolOp) and any(isinstance(inner, ast.Await) for inner in ast.walk(node))
        for node in own_nodes(statement)
    )


def _passes(statement: ast.stmt, run: _Run, function: Function) -> bool:
    """Tell whether a statement without awaits may stand within a run; note what it makes of the results."""
    if isinstance(statement, ast.Return):
        return False
    for node in own_nodes(statement):
        if isinstance(node, ast.Call):
            site = _flow.call_site(node, function)
            if site.target is None and words(_flow.called_name(site)) & _ORDERED:
                return False
    if _flow.touches(_flow.reads(statement), run.touched):
        run.touched |= _flow.written(statement)
        run.touched |= {
            _flow.path_of(node.func.value)
            for node in own_nodes(statement)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        } - {""}
    else:
        # Bound anew from something else: no longer a result of the run.
        run.touched -= _flow.written(statement)
    return True


def _follows(node: ast.Await, run: _Run, function: Function) -> bool:
    return bool(run.awaits and _is_reading(node, function) and not _flow.touches(_flow.reads(node.value), run.touched))


def _is_reading(node: ast.Await, function: Function) -> bool:
    site = _flow.awaited_call(node, function)
    return (
        site is not None
        and _flow.only_reads(site)
        and not any(isinstance(part, ast.Await) for part in ast.walk(site.node))
    )


def _cost(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    return endpoint.cost_where(_saved(endpoint, candidate))


def _saved(endpoint: EndpointEvidence, candidate: Candidate) -> dict[int, float]:
    """Return by request the waits of the run but for the longest: what running them together would save."""
    waits: dict[int, list[float]] = {}
    for group, number in _groups(candidate).items():
        for position, seconds in _waited(endpoint, candidate, *group).items():
            # Awaits of the same functions cannot be told apart: each counts as the same part.
            waits.setdefault(position, []).extend([seconds / number] * number)
    saved = {}
    for position, parts in waits.items():
        counted = [part for part in parts if part >= LEAST_WAIT]
        if len(counted) > 1:
            saved[position] = sum(counted) - max(counted)
    return saved


def _groups(candidate: Candidate) -> dict[tuple[frozenset[int], frozenset[tuple[str, str]]], int]:
    groups: dict[tuple[frozenset[int], frozenset[tuple[str, str]]], int] = {}
    for line, run in zip(candidate.lines, candidate.runs or [()] * len(candidate.lines), strict=True):
        key = (frozenset() if run else frozenset({line}), frozenset(run))
        groups[key] = groups.get(key, 0) + 1
    return groups


def _waited(
    endpoint: EndpointEvidence,
    candidate: Candidate,
    lines: frozenset[int],
    places: frozenset[tuple[str, str]],
) -> dict[int, float]:
    """Return by request the seconds waited on these lines of the function, or in these functions."""

    def is_there(column: Column) -> bool:
        site = column.line.site
        in_run = at(site, (candidate.file, candidate.function), lines) or (site.file, site.function) in places
        return column.line.kind in SUSPENDED and in_run

    spent: dict[int, float] = {}
    for column in endpoint.columns:
        if is_there(column):
            for position, seconds in zip(column.requests, column.seconds, strict=True):
                spent[position] = spent.get(position, 0.0) + seconds
    return spent

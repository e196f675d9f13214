"""HS301: one call for each item of a collection, one after the other: N round trips instead of one."""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hasten.diagnose import _apis, _flow
from hasten.diagnose._calls import executed, reached
from hasten.diagnose._definitions import CallSite, Function, own_nodes
from hasten.diagnose._evidence import SUSPENDED, Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import (
    at,
    calls_per_request,
    finding,
    milliseconds,
    own_time,
    payer,
    places_of,
    went_through,
)
from hasten.diagnose._roles import is_cached, per_request, words
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Site

LEAST_CALLS = 3.0
"""Calls at the place in a mean request that makes any: fewer are no N."""

LEAST_SHARE = 0.005
"""Share of an endpoint's mean or p99 from which it counts; what is small is said to be of low severity."""
_DATA_LIBRARIES = frozenset(
    {
        "httpx", "requests", "aiohttp", "redis", "sqlite3", "psycopg", "psycopg2", "pymysql", "sqlalchemy",
        "asyncpg", "pymongo", "motor", "elasticsearch", "boto3", "aiosqlite", "sqlmodel", "urllib", "grpc"
    }
)  # fmt: skip
_NO_ROUND_TRIP = frozenset(
    {
        "connect", "commit", "rollback", "close", "aclose", "fetchone", "fetchall", "fetchmany", "cursor",
        "pipeline"
    }
)  # fmt: skip
_ORDERED = frozenset(
    {
        "send", "write", "drain", "sleep", "wait", "close", "aclose", "stop", "start", "join", "cancel",
        "put", "receive", "recv", "connect", "shutdown", "startup", "read", "readline"
    }
)  # fmt: skip
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class _Loop:
    """A loop over a collection: its targets' names, what it repeats, and the names it carries on."""

    node: ast.AST
    names: set[str]
    repeated: list[ast.AST]
    statements: list[ast.stmt]


class NPlusOne(Rule):
    """A call to a client in a loop, with the item among its arguments, and nothing carried to the next."""

    code = "HS301"
    name = "n-plus-one"
    fix = "ask for all in one call (a batch endpoint, WHERE id IN, MGET), or run them together with a limit"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each such call."""
        for function in module.functions:
            if per_request(function):
                for loop in _loops(function):
                    yield from self._of_loop(function, loop)

    def _of_loop(self, function: Function, loop: _Loop) -> Iterator[Candidate]:
        items = _items(loop)
        for site in _calls(function, loop):
            arguments = [*site.node.args, *(keyword.value for keyword in site.node.keywords)]
            used = {path.partition(".")[0] for argument in arguments for path in _flow.reads(argument)}
            if used & items and not used & _carried(loop, site.node) and _is_round_trip(site):
                yield self._candidate(function, loop, site)

    def _candidate(self, function: Function, loop: _Loop, site: CallSite) -> Candidate:
        lines = (
            site.node.lineno,
            *range(site.node.lineno + 1, (site.node.end_lineno or site.node.lineno) + 1),
        )
        name = ast.unparse(site.node.func)
        return Candidate(
            code=self.code,
            file=function.module.file,
            line=site.node.lineno,
            lines=lines,
            function=function.qualname,
            message=f"{name[:50]} is called for each item of a loop, one after the other",
            callee=site.callee if site.target is None else "",
            runs=(reached([site.node], function), *((),) * (len(lines) - 1)),
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the loops in which requests really made many calls."""
        for candidate in candidates:
            paid = payer(went_through(evidence, candidate), partial(_cost, candidate=candidate))
            if paid is None or max(paid[1].share_mean, paid[1].share_p99) < LEAST_SHARE:
                continue
            endpoint, cost = paid
            calls = _calls_made(endpoint, candidate, cost)
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title="One call for each item, one after the other",
                proof=f"{cost.hurt} of {len(endpoint.accounts)} requests made {calls:.1f} calls on average "
                f"and spent {milliseconds(cost.seconds)} a request on them",
            )


def _loops(function: Function) -> Iterator[_Loop]:
    for node in function.nodes:
        if isinstance(node, ast.For) and not _leaves(node):
            yield _Loop(node, _names(node.target), list(node.body), node.body)
        elif isinstance(node, _COMPREHENSIONS) and not any(part.is_async for part in node.generators):
            names = {name for part in node.generators for name in _names(part.target)}
            repeated = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            yield _Loop(node, names, [*repeated, *(test for part in node.generators for test in part.ifs)], [])


def _names(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _leaves(loop: ast.For) -> bool:
    """Tell whether the loop may end early or hands out items one by one: then the order matters."""
    return any(isinstance(node, ast.Break | ast.Return | ast.Yield) for part in loop.body for node in own_nodes(part))


def _items(loop: _Loop) -> set[str]:
    """Return the names that stand for the item: the loop's own and those made from it."""
    items = set(loop.names)
    for statement in loop.statements:
        for node in own_nodes(statement):
            if isinstance(node, ast.Assign) and {path.partition(".")[0] for path in _flow.reads(node.value)} & items:
                items |= {
                    name
                    for target in node.targets
                    for name in _names(target)
                    if isinstance(target, ast.Name | ast.Tuple)
                }
    return items


def _carried(loop: _Loop, call: ast.Call) -> set[str]:
    """Return the names that the call's own statement or a later one binds for the next round."""
    carried: set[str] = set()
    reached_call = False
    for statement in loop.statements:
        reached_call = reached_call or any(node is call for node in ast.walk(statement))
        if reached_call:
            carried |= {path.partition(".")[0] for path in _flow.written(statement)}
    earlier = {
        path
        for statement in loop.statements
        if (statement.end_lineno or 0) < call.lineno
        for path in _flow.written(statement)
    }
    return carried - earlier - loop.names


def _calls(function: Function, loop: _Loop) -> Iterator[CallSite]:
    """Yield the awaited calls and the blocking ones that this loop repeats, without those of inner loops."""
    for root in loop.repeated:
        for node in _outside_loops(root):
            if isinstance(node, ast.Await) and function.is_async:
                site = _flow.awaited_call(node, function)
                if site is not None:
                    yield site
            elif isinstance(node, ast.Call):
                site = _flow.call_site(node, function)
                if site.target is None and _apis.blocks(site.callee):
                    yield site


def _outside_loops(root: ast.AST) -> Iterator[ast.AST]:
    yield root
    if isinstance(
        root,
        (
            ast.For,
            ast.AsyncFor,
            ast.While,
            ast.Lambda,
            ast.FunctionDef,
            ast.AsyncFunctionDef,
            *_COMPREHENSIONS,
        ),
    ):
        return
    for child in ast.iter_child_nodes(root):
        yield from _outside_loops(child)


def _is_round_trip(site: CallSite) -> bool:
    if site.target is not None:
        return not is_cached(site.target) and any(_is_known(call) for call in executed(site.target, lambda _: True))
    if _is_known(site):
        return True
    reads = bool(words(_flow.called_name(site)) & _flow.READING) and not _is_ordered(site)
    return reads and site.callee.partition(".")[0] not in sys.stdlib_module_names


def _is_known(site: CallSite) -> bool:
    if site.target is not None or _is_ordered(site) or _flow.called_name(site) in _NO_ROUND_TRIP:
        return False
    owner = _flow.owner_type(site)
    return (owner.partition(".")[0] in _DATA_LIBRARIES and owner.rpartition(".")[2][:1].isupper()) or (
        _apis.blocks(site.callee) and site.callee.partition(".")[0] in _DATA_LIBRARIES
    )


def _is_ordered(site: CallSite) -> bool:
    """Tell whether a call has its turn in a row, or only notes what a pipeline will send at once."""
    func = site.node.func
    if isinstance(func, ast.Attribute) and words(_flow.path_of(func.value)) & {"pipe", "pipeline", "batch"}:
        return True
    return bool(words(_flow.called_name(site)) & _ORDERED) or site.callee.partition(".")[0] in {
        "asyncio",
        "anyio",
    }


def _cost(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    """Return what the calls cost where requests made enough of them; nothing where they made few."""
    is_call = partial(_is_there, candidate=candidate)
    cost = endpoint.cost(lambda line: line.kind in SUSPENDED and is_call(line.site))
    if not cost.hurt:
        return own_time(endpoint, candidate) if _apis.blocks(candidate.callee) else Cost()
    return cost if _calls_made(endpoint, candidate, cost) >= LEAST_CALLS else Cost()


def _calls_made(endpoint: EndpointEvidence, candidate: Candidate, cost: Cost) -> float:
    """Return the calls of a request that made any; functions handed to threads count by their stretches."""
    made = calls_per_request(endpoint, partial(_is_there, candidate=candidate))
    return made or cost.count * len(endpoint.accounts) / cost.hurt


def _is_there(site: Site, candidate: Candidate) -> bool:
    """Tell whether a site is the candidate's call, or in the functions that run because of it."""
    function = (candidate.file, candidate.function)
    places = places_of(candidate) - {function}
    return (site.file, site.function) in places if places else at(site, function, candidate.lines)

"""HS305: a call has no time limit, so that one answer that never comes holds the request for ever."""

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hasten.diagnose import _apis
from hasten.diagnose._evidence import Cost, EndpointEvidence, Evidence, Place
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose._names import Scope
from hasten.diagnose._proof import finding, milliseconds, payer, visitors
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Kind, Line

_TIMED = frozenset({Kind.WAITING, Kind.BLOCKING, Kind.COMPUTING, Kind.THREAD})


@dataclass(frozen=True, slots=True)
class _Limit:
    """How a call takes its time limit.

    Attributes:
      keywords: Any of these sets it.
      without: What happens when none is given; empty when the library's own default is a good one.
      position: Index of the positional argument that sets it, -1 for none.
    """

    keywords: tuple[str, ...]
    without: str
    position: int = -1


_FOR_EVER = "waits for ever"
_REQUESTS = _Limit(("timeout",), _FOR_EVER)
_HTTPX = _Limit(("timeout",), "")
_REDIS = _Limit(("socket_timeout", "connection_pool"), "waits for ever with redis-py before 8")
_LIMITS: dict[str, _Limit] = {
    **{f"requests.{verb}": _REQUESTS for verb in _apis.BLOCKING_METHODS["requests"]},
    **{f"requests.Session.{verb}": _REQUESTS for verb in _apis.BLOCKING_METHODS["requests.Session"]},
    **{f"httpx.{verb}": _HTTPX for verb in _apis.BLOCKING_METHODS["httpx"]},
    **{f"httpx.Client.{verb}": _HTTPX for verb in _apis.BLOCKING_METHODS["httpx.Client"]},
    **{f"httpx.AsyncClient.{verb}": _HTTPX for verb in _apis.BLOCKING_METHODS["httpx.Client"]},
    "httpx.Client": _HTTPX,
    "httpx.AsyncClient": _HTTPX,
    "aiohttp.ClientSession": _Limit(("timeout",), "waits up to 300 s"),
    "urllib.request.urlopen": _Limit(("timeout",), _FOR_EVER, 2),
    "http.client.HTTPConnection": _Limit(("timeout",), _FOR_EVER, 2),
    "http.client.HTTPSConnection": _Limit(("timeout",), _FOR_EVER, 2),
    "socket.create_connection": _Limit(("timeout",), _FOR_EVER, 1),
    "smtplib.SMTP": _Limit(("timeout",), _FOR_EVER, 3),
    "smtplib.SMTP_SSL": _Limit(("timeout",), _FOR_EVER),
    "ftplib.FTP": _Limit(("timeout",), _FOR_EVER, 4),
    "redis.Redis": _REDIS,
    "redis.from_url": _REDIS,
    "redis.Redis.from_url": _REDIS,
    "redis.asyncio.Redis": _REDIS,
    "redis.asyncio.from_url": _REDIS,
    "redis.asyncio.Redis.from_url": _REDIS,
    "asyncpg.connect": _Limit(("command_timeout",), "lets a query run for ever"),
    "asyncpg.create_pool": _Limit(("command_timeout",), "lets a query run for ever"),
    "psycopg2.connect": _Limit(("connect_timeout", "options"), _FOR_EVER),
    "psycopg.connect": _Limit(("connect_timeout", "options"), _FOR_EVER),
    "psycopg.AsyncConnection.connect": _Limit(("connect_timeout", "options"), _FOR_EVER),
    "pymongo.MongoClient": _Limit(("timeoutMS", "socketTimeoutMS"), _FOR_EVER),
}
_LIMIT_OBJECTS = frozenset({"httpx.Timeout", "aiohttp.ClientTimeout"})


class MissingTimeout(Rule):
    """A client or call without a time limit, or with an explicit None; clients count where they are made."""

    code = "HS305"
    name = "missing-timeout"
    fix = "set a timeout a little above the p99 of what is called, on the client: timeout=2.0"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each call without a limit."""
        seen: set[int] = set()
        scopes = [(function.qualname, function.scope, function.nodes) for function in module.functions]
        for qualname, scope, nodes in [*scopes, ("<module>", module.scope, module.top_nodes)]:
            for node in nodes:
                if isinstance(node, ast.Call) and id(node) not in seen:
                    seen.add(id(node))
                    callee = scope.dotted(node.func)
                    problem = _problem(node, callee, scope)
                    if problem:
                        yield self._candidate(module, qualname, node, callee, problem)

    def _candidate(self, module: Module, qualname: str, node: ast.Call, callee: str, problem: str) -> Candidate:
        owner = callee.rpartition(".")[2][:1].isupper() or callee in _apis.RETURNS
        kind = _apis.RETURNS.get(callee, callee)
        return Candidate(
            code=self.code,
            file=module.file,
            line=node.func.end_lineno or node.lineno,
            lines=tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1)),
            function=qualname,
            message=f"{callee} {problem}",
            callee=callee,
            runs=(_users(module, kind),) if owner else (),
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the calls that requests went through; low, for nothing is lost until an answer is late."""
        for candidate in candidates:
            places = {place for run in candidate.runs for place in run} or {(candidate.file, candidate.function)}
            paid = payer(visitors(evidence, places), _exposed(candidate, places))
            if paid is None:
                continue
            endpoint, cost = paid
            yield finding(
                self,
                endpoint,
                Cost(hurt=cost.hurt),
                (candidate.file, candidate.line, candidate.function),
                title=f"{candidate.callee} has no time limit",
                proof=f"{cost.hurt} of {len(endpoint.accounts)} requests went through it, for "
                f"{milliseconds(cost.seconds)} on average, with no limit",
                severity=Severity.LOW,
            )


def _problem(node: ast.Call, callee: str, scope: Scope) -> str:
    """Return what happens for want of a limit; empty when there is one or it cannot be told."""
    limit = _LIMITS.get(callee)
    if limit is None or any(keyword.arg is None for keyword in node.keywords):
        return ""
    given = [keyword.value for keyword in node.keywords if keyword.arg in limit.keywords]
    if 0 <= limit.position < len(node.args):
        given.append(node.args[limit.position])
    if any(_is_none(value, scope) for value in given):
        return "has timeout=None: waits for ever" if limit.keywords == ("timeout",) else _FOR_EVER
    if given or not limit.without or any(isinstance(argument, ast.Starred) for argument in node.args):
        return ""
    # psycopg's and redis' addresses may hold the limit themselves.
    texts = [inner.value for argument in node.args for inner in ast.walk(argument) if isinstance(inner, ast.Constant)]
    if any(isinstance(text, str) and "timeout" in text for text in texts):
        return ""
    return f"has no {limit.keywords[0]}: {limit.without}"


def _is_none(value: ast.expr, scope: Scope) -> bool:
    if isinstance(value, ast.Constant):
        return value.value is None
    if isinstance(value, ast.Call) and scope.dotted(value.func) in _LIMIT_OBJECTS:
        # What `httpx.Timeout(None, connect=5.0)` leaves without a limit is the answer itself.
        first = value.args[0] if value.args else None
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        limit = given.get("read") or given.get("sock_read") or given.get("total") or given.get("timeout") or first
        return limit is not None and _is_none(limit, scope)
    return False


def _users(module: Module, kind: str) -> tuple[Place, ...]:
    """Return the functions that call a client of this type: in the same file, else where it is imported."""
    here = [
        function.place for function in module.functions if any(_is_method(call.callee, kind) for call in function.calls)
    ]
    if here:
        return tuple(here)
    name = module.key
    others = [
        function.place
        for other in module.project.modules.values()
        if any(_is_of(other, target, name) for target in other.scope.imports.values())
        for function in other.functions
        if any(_is_method(call.callee, kind) for call in function.calls)
    ]
    return tuple(others)


def _is_of(other: Module, imported: str, key: str) -> bool:
    found = other.project.find(imported, other)
    return found is not None and found[0].key == key


def _is_method(callee: str, kind: str) -> bool:
    return callee.startswith(kind + ".") and callee != f"{kind}.from_url"


def _exposed(candidate: Candidate, places: Iterable[Place]) -> Callable[[EndpointEvidence], Cost]:
    library = candidate.callee.partition(".")[0]
    named = frozenset(places)

    def match(line: Line) -> bool:
        site = line.site
        if line.kind not in _TIMED or (site.file, site.function) not in named:
            return False
        return line.kind is not Kind.WAITING or not site.library or site.library.startswith(library)

    return lambda endpoint: endpoint.cost(match)

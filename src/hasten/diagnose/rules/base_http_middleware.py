"""HS401: middleware on BaseHTTPMiddleware starts a task and a stream for every request."""

import ast
from collections.abc import Iterable, Iterator, Sequence

from hasten.diagnose._definitions import Class, Function
from hasten.diagnose._evidence import OWN, Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._proof import finding, milliseconds
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Line

BASE = "starlette.BaseHTTPMiddleware"


class BaseHttpMiddleware(Rule):
    """`@app.middleware("http")`, subclasses, and `add_middleware(BaseHTTPMiddleware, ...)`."""

    code = "HS401"
    name = "base-http-middleware"
    fix = "write it as a pure ASGI class: async def __call__(self, scope, receive, send)"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each middleware."""
        for function in module.functions:
            decorator = _decorator(function)
            if decorator is not None:
                yield self._candidate(module, decorator.lineno, function.qualname, function.name)
        for made in module.named_classes.values():
            if BASE in _ancestors(made):
                yield self._candidate(module, made.node.lineno, f"{made.qualname}.dispatch", made.node.name)
        yield from self._added(module)

    def _added(self, module: Module) -> Iterator[Candidate]:
        if "BaseHTTPMiddleware" not in module.source:
            return
        scopes = [
            *((function.scope, function.nodes) for function in module.functions),
            (module.scope, module.top_nodes),
        ]
        for scope, nodes in scopes:
            for node in nodes:
                if isinstance(node, ast.Call) and node.args and scope.dotted(node.args[0]) == BASE:
                    dispatch = next((word.value for word in node.keywords if word.arg == "dispatch"), None)
                    target = scope.function_named(scope.dotted(dispatch))
                    name = target.qualname if target is not None else module.function_at(node.lineno)
                    yield self._candidate(module, node.lineno, name, "BaseHTTPMiddleware")

    def _candidate(self, module: Module, line: int, function: str, name: str) -> Candidate:
        return Candidate(
            code=self.code,
            file=module.file,
            line=line,
            lines=(line,),
            function=function,
            message=f"{name} is a BaseHTTPMiddleware: a task and a stream for every request",
            callee=BASE,
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the middleware that requests went through, with its own loop time."""
        for candidate in candidates:
            visits = evidence.visits(candidate.file, candidate.function)
            if not visits:
                continue
            # It costs every request the same: the endpoint with most of them tells it best.
            endpoint = max(visits, key=lambda visit: len(visit.accounts))
            cost = _cost(endpoint, candidate)
            passed = sum(len(visit.accounts) for visit in visits)
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title="Middleware on BaseHTTPMiddleware",
                proof=f"{passed} recorded requests went through it; its own steps took "
                f"{milliseconds(cost.seconds)} a request, the stream and task around it more",
            )


def _decorator(function: Function) -> ast.expr | None:
    for decorator in function.decorators:
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            continue
        kinds = [value.value for value in decorator.args if isinstance(value, ast.Constant)]
        if decorator.func.attr == "middleware" and kinds == ["http"]:
            return decorator
    return None


def _ancestors(made: Class, depth: int = 4) -> set[str]:
    """Return the dotted names of a class's bases, their bases included."""
    found = set(made.bases)
    for base in made.bases:
        parent = made.scope.class_named(base)
        if parent is not None and depth:
            found |= _ancestors(parent, depth - 1)
    return found


def _cost(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    def match(line: Line) -> bool:
        site = line.site
        in_dispatch = site.file == candidate.file and site.function == candidate.function
        return line.kind in OWN and (in_dispatch or "BaseHTTPMiddleware" in site.library)

    cost = endpoint.cost(match)
    if cost.hurt:
        return cost
    # Seen in calls alone: on the path, too fast to have a line.
    return Cost(hurt=len(endpoint.accounts))

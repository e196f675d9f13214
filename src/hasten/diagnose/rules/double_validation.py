"""HS402: a response that was validated when it was built is validated again as another model."""

import ast
from collections.abc import Iterable, Sequence
from functools import partial

from hasten.diagnose._definitions import Function
from hasten.diagnose._evidence import OWN, Cost, EndpointEvidence, Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._names import Scope
from hasten.diagnose._proof import finding, milliseconds, payer
from hasten.diagnose._roles import route_of
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module
from hasten.ledger import Line

_DUMPS = frozenset({"model_dump", "dict", "jsonable_encoder"})
_BUILDERS = frozenset({"model_validate", "parse_obj", "from_orm"})
_LISTS = frozenset({"list", "tuple", "set", "typing.List", "typing.Sequence", "collections.abc.Sequence"})
_VALIDATORS = ("fastapi.", "pydantic")
_NO_MODELS = frozenset(
    {
        "Response",
        "JSONResponse",
        "HTMLResponse",
        "StreamingResponse",
        "RedirectResponse",
        "FileResponse",
        "PlainTextResponse",
        "ORJSONResponse",
        "UJSONResponse",
        "HTTPException",
        "EventSourceResponse",
    }
)


class DoubleValidation(Rule):
    """A route that returns another model than its response model, or the dump of a model.

    An instance of the response model itself is fine: pydantic 2 takes it as it is (0.4 µs against 570 µs for
    another model of 500 items).
    """

    code = "HS402"
    name = "double-validation"
    fix = "build the response model once and return it, or return a Response with its model_dump_json()"

    def candidates(self, module: Module) -> Iterable[Candidate]:
        """Yield one candidate for each such return."""
        for function in module.functions:
            route = route_of(function)
            response = _response_model(function, route) if route is not None else ""
            if not response:
                continue
            for node in function.nodes:
                if isinstance(node, ast.Return) and node.value is not None:
                    built = _built(node.value, function)
                    if built and built != response:
                        yield self._candidate(function, node, built, response)

    def _candidate(self, function: Function, node: ast.Return, built: str, response: str) -> Candidate:
        what = "the dump of a validated model" if built == "dump" else f"a validated {_last(built)}"
        return Candidate(
            code=self.code,
            file=function.module.file,
            line=node.lineno,
            lines=(node.lineno,),
            function=function.qualname,
            message=f"returns {what}, which FastAPI validates again as {_last(response)}",
            callee=response,
        )

    def findings(self, evidence: Evidence, candidates: Sequence[Candidate]) -> Iterable[Finding]:
        """Yield the routes that requests took, with the time to build, validate and encode the answer."""
        for candidate in candidates:
            paid = payer(evidence.visits(candidate.file, candidate.function), partial(_cost, candidate=candidate))
            if paid is None:
                continue
            endpoint, cost = paid
            yield finding(
                self,
                endpoint,
                cost,
                (candidate.file, candidate.line, candidate.function),
                title="The response is validated twice",
                proof=f"{cost.hurt} of {len(endpoint.accounts)} requests built one model, had it validated "
                f"as another; the steps around it took {milliseconds(cost.seconds)} a request",
            )


def _response_model(function: Function, route: ast.Call) -> str:
    """Return the model that a route's answers are validated as, that of the items for a list."""
    given = next((keyword.value for keyword in route.keywords if keyword.arg == "response_model"), None)
    if isinstance(given, ast.Constant):
        return ""
    annotation = given if given is not None else getattr(function.node, "returns", None)
    name = _model(annotation, function.outer)
    return "" if name.rpartition(".")[2] in _NO_MODELS else name


def _model(annotation: ast.expr | None, scope: Scope) -> str:
    if isinstance(annotation, ast.Subscript) and scope.dotted(annotation.value) in _LISTS:
        return _model(annotation.slice, scope)
    name = scope.annotated_type(annotation)
    return name if name.rpartition(".")[2][:1].isupper() and not name.startswith(("typing.", "collections.")) else ""


def _built(node: ast.expr, function: Function, depth: int = 0) -> str:
    """Return the model that a value is an instance of, `dump` for a model's dump; empty where unknown."""
    if depth > 4:
        return ""
    if isinstance(node, ast.Await):
        return _built(node.value, function, depth + 1)
    if isinstance(node, ast.ListComp):
        return _built(node.elt, function, depth + 1)
    if isinstance(node, ast.List) and node.elts:
        return _built(node.elts[0], function, depth + 1)
    if isinstance(node, ast.Name):
        values = function.scope.values.get(node.id, [])
        assigned = [value.node for value in values if value.how == "assign" and value.node is not None]
        return _built(assigned[0], function, depth + 1) if len(values) == len(assigned) == 1 else ""
    return _built_by_call(node, function, depth) if isinstance(node, ast.Call) else ""


def _built_by_call(node: ast.Call, function: Function, depth: int) -> str:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in _DUMPS:
        dumped = node.func.value if isinstance(node.func, ast.Attribute) else (node.args or [node])[0]
        return "dump" if dumped is not node and _is_model(function.scope.type_of(dumped), function) else ""
    if name in _BUILDERS and isinstance(node.func, ast.Attribute):
        built = function.scope.dotted(node.func.value)
        return built if _is_model(built, function) else ""
    built = function.scope.type_of(node)
    return built if _is_model(built, function) else ""


def _is_model(dotted: str, function: Function, depth: int = 0) -> bool:
    if dotted in {"pydantic.BaseModel", "sqlmodel.SQLModel"}:
        return True
    made = function.scope.class_named(dotted)
    return made is not None and depth < 5 and any(_is_model(base, function, depth + 1) for base in made.bases)


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def _cost(endpoint: EndpointEvidence, candidate: Candidate) -> Cost:
    """Return the loop time in the handler, and in FastAPI and pydantic with no user code below: at most.

    A short step is known by the user's last line alone: validation after the handler's return counts as the
    handler's.
    """
    place = (candidate.file, candidate.function)

    def match(line: Line) -> bool:
        site = line.site
        validates = not site.file and site.library.startswith(_VALIDATORS)
        return line.kind in OWN and (validates or (site.file, site.function) == place)

    cost = endpoint.cost(match)
    return cost if cost.hurt else Cost(hurt=len(endpoint.accounts))

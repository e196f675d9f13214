"""What a function is for: route, dependency, start-up; and whether it runs for every request."""

import ast
import re
from collections.abc import Iterator

from hasten.diagnose import _apis
from hasten.diagnose._definitions import Function, own_nodes
from hasten.diagnose._names import Scope
from hasten.diagnose._source import Module, Project

_APPLICATIONS = frozenset({"fastapi.FastAPI", "fastapi.APIRouter", "starlette.Starlette"})
_USUAL_NAMES = frozenset({"app", "router", "api", "application"})
_METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "api_route", "route"})
_STARTUP_NAMES = frozenset({"main", "connect", "aclose", "__aenter__", "__aexit__", "__del__"})
_STARTUP_WORDS = frozenset(
    {
        "lifespan", "startup", "shutdown", "setup", "teardown", "init", "initialize", "initialise",
        "configure", "bootstrap", "migrate", "seed",
    }
)  # fmt: skip
_CONTEXTS = frozenset({"contextlib.asynccontextmanager", "contextlib.contextmanager"})
_CACHES = re.compile(r"(^|\.)(cache|lru_cache|alru_cache|cached|cached_property|once)$")


def words(name: str) -> frozenset[str]:
    """Return the words of an identifier: `GetProduct` and `get_product` both are {get, product}."""
    return frozenset(part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name))


def route_of(function: Function) -> ast.Call | None:
    """Return the decorator that makes a function a route (`@app.get("/")`); None when it is none."""
    for decorator in function.decorators:
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            continue
        if decorator.func.attr in _METHODS and _is_application(decorator.func.value, function.outer):
            return decorator
    return None


def _is_application(node: ast.expr, scope: Scope) -> bool:
    held = scope.type_of(node)
    if held:
        return held in _APPLICATIONS
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return bool(words(name) & _USUAL_NAMES)


def dependencies(module: Module) -> Iterator[tuple[ast.Call, Function]]:
    """Yield each `Depends(function)` of a module with the project's function it names."""
    if "Depends" not in module.source and "Security" not in module.source:
        return
    places = [(module.scope, module.top_nodes)]
    places += [(function.outer, function.signature) for function in module.functions]
    places += [(function.scope, function.nodes) for function in module.functions]
    for scope, nodes in places:
        for node in nodes:
            if isinstance(node, ast.Call) and node.args and scope.dotted(node.func) in _apis.DEPENDS:
                target = scope.function_named(scope.dotted(node.args[0]))
                if target is not None:
                    yield node, target


def is_cached(function: Function) -> bool:
    """Tell whether a decorator keeps its results, so that its body runs once and not per request."""
    return any(_CACHES.search(name) for name in function.decorator_names)


def is_startup(function: Function) -> bool:
    """Tell whether a function runs when the process starts or stops: nobody waits for an answer then."""
    if function.name in _STARTUP_NAMES or words(function.name) & _STARTUP_WORDS:
        return True
    if function.name.startswith("test_"):
        return True
    if any(name.rpartition(".")[2] in {"on_event", "command", "fixture"} for name in function.decorator_names):
        return True
    takes_app = any(argument.arg in {"app", "_app", "application"} for argument in function.parameters)
    return takes_app and bool(_CONTEXTS & set(function.decorator_names))


def per_request(function: Function) -> bool:
    """Tell whether a function seems to run while a request waits.

    An async function does unless it is for start-up or only start-up code calls it; a sync one does when it
    is a route or dependency, or code that does calls it.
    """
    project = function.module.project
    if project.per_request is None:
        project.per_request = _per_request(project)
    return function in project.per_request


def _per_request(project: Project) -> frozenset[Function]:
    callers, at_import = _callers(project)
    named = {target for module in project.modules.values() for _, target in dependencies(module)}
    entries = {function for function in project.functions if function in named or route_of(function) is not None}
    entries |= {
        function
        for function in project.functions
        if function.is_async and not callers.get(function) and function not in at_import and not is_startup(function)
    }
    found: set[Function] = set()
    waiting = list(entries)
    called: dict[Function, set[Function]] = {}
    for target, sources in callers.items():
        for source in sources:
            called.setdefault(source, set()).add(target)
    while waiting:
        function = waiting.pop()
        if function in found or (is_startup(function) and function not in entries):
            continue
        found.add(function)
        waiting.extend(called.get(function, ()))
    return frozenset(found)


def _callers(project: Project) -> tuple[dict[Function, set[Function]], set[Function]]:
    callers: dict[Function, set[Function]] = {}
    at_import: set[Function] = set()
    for function in project.functions:
        for call in function.calls:
            if call.target is not None and call.target is not function:
                callers.setdefault(call.target, set()).add(function)
    for module in project.modules.values():
        for node in module.top_nodes:
            target = module.scope.target(node) if isinstance(node, ast.Call) else None
            if target is not None:
                at_import.add(target)
    return callers, at_import


def keeps(function: Function, call: ast.Call) -> bool:
    """Tell whether a call's result is stored where it outlives the function: attribute, global, container."""
    return any(_stores(node, call, function) for node in function.nodes)


def _stores(node: ast.AST, call: ast.Call, function: Function) -> bool:
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return False
    if not any(inner is call for inner in own_nodes(value)):
        return False
    return any(
        isinstance(target, ast.Attribute | ast.Subscript)
        or (isinstance(target, ast.Name) and target.id in function.scope.outer_names)
        for target in targets
    )

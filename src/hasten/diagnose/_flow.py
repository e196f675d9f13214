"""Data flow within a function, by names: what a statement reads and writes, which calls only read."""

import ast
from collections.abc import Iterator

from hasten.diagnose import _apis
from hasten.diagnose._calls import executed
from hasten.diagnose._definitions import CallSite, Function, own_nodes
from hasten.diagnose._roles import words

READING = frozenset(
    {
        "get", "fetch", "load", "find", "list", "search", "lookup", "query", "retrieve", "select", "count",
        "scan", "describe", "mget", "hget", "hgetall", "exists", "show", "download", "fetchrow", "fetchval",
        "look", "read", "resolve", "compute", "calculate", "estimate"
    }
)  # fmt: skip
CHANGING = frozenset(
    {
        "set", "add", "create", "update", "delete", "insert", "write", "send", "commit", "flush", "close",
        "connect", "acquire", "begin", "start", "stop", "put", "publish", "lock", "receive", "recv",
        "drain", "next", "push", "pop", "post", "patch", "save", "remove", "login", "authenticate",
        "authorize", "open", "enter", "exit", "sleep", "wait", "emit", "notify", "pay", "charge", "reserve",
        "register", "subscribe", "consume", "ack", "cancel", "release", "rollback", "upload", "init",
        "setup", "shutdown", "join", "refresh", "reset", "apply", "store", "incr", "decr", "expire",
        "order", "book", "move", "copy", "rename", "readline", "anext", "body", "form", "stream", "prepare"
    }
)  # fmt: skip
_CHANGING_ALONE = frozenset(
    {
        "execute", "read", "json", "text", "run", "process", "handle", "receive", "order", "call"
    }
)  # fmt: skip
_SERIAL_NAMES = frozenset(
    {
        "conn", "connection", "db", "database", "cursor", "cur", "tx", "transaction", "session", "reader",
        "stream", "ws", "websocket", "sock", "socket", "request", "response", "resp", "file", "f", "pipe",
        "pipeline", "queue", "channel", "lock", "uow"
    }
)  # fmt: skip
_CONTAINER_WORDS = frozenset(
    {
        "add", "update", "pop", "insert", "remove", "set", "copy", "next", "join", "write"
    }
)  # fmt: skip


def path_of(node: ast.AST) -> str:
    """Return `a.b` for `a.b` and `a["b"]`; empty for what is no such chain."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = path_of(node.value)
        return f"{base}.{node.attr}" if base else ""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        base = path_of(node.value)
        return f"{base}.{node.slice.value!r}" if base else ""
    return ""


def reads(root: ast.AST) -> set[str]:
    """Return the paths an expression reads; a method's object is read as a whole."""
    found: set[str] = set()
    _collect_reads(root, found)
    return found


def _collect_reads(node: ast.AST, found: set[str]) -> None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        for part in (node.func.value, *node.args, *node.keywords):
            _collect_reads(part, found)
        return
    path = path_of(node)
    if path:
        if not isinstance(getattr(node, "ctx", None), ast.Store):
            found.add(path)
        return
    for child in ast.iter_child_nodes(node):
        _collect_reads(child, found)


def written(statement: ast.stmt) -> set[str]:
    """Return the paths a statement binds."""
    found = set()
    for node in own_nodes(statement):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.add(path_of(node) or _root(node))
        elif isinstance(node, ast.AugAssign):
            found.add(path_of(node.target) or _root(node.target))
    return found - {""}


def touches(paths: set[str], others: set[str]) -> bool:
    """Tell whether some path of one set is, holds or lies within one of the other."""
    return any(
        left == right or left.startswith(right + ".") or right.startswith(left + ".")
        for left in paths
        for right in others
    )


def awaits(root: ast.AST) -> Iterator[ast.Await]:
    """Yield the awaits of a statement in order, without those of comprehensions and lambdas."""
    for child in ast.iter_child_nodes(root):
        if isinstance(child, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            continue
        yield from awaits(child)
    if isinstance(root, ast.Await):
        yield root


def awaited_call(node: ast.Await, function: Function) -> CallSite | None:
    """Return the call that is awaited, out of `asyncio.wait_for(...)` and the like; None for a plain name."""
    call = node.value
    while isinstance(call, ast.Call):
        site = call_site(call, function)
        if site.callee in {"asyncio.wait_for", "asyncio.shield"} and call.args:
            call = call.args[0]
        else:
            return site
    return None


def call_site(node: ast.Call, function: Function) -> CallSite:
    """Return what is known of a call."""
    known = next((site for site in function.calls if site.node is node), None)
    if known is not None:
        return known
    callee = function.scope.dotted(node.func)
    return CallSite(function, node, callee, function.scope.function_named(callee))


def called_name(site: CallSite) -> str:
    """Return the last name of what is called."""
    func = site.node.func
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def owner_type(site: CallSite) -> str:
    """Return the type of the object whose method is called; empty where unknown."""
    return site.callee.rpartition(".")[0]


def only_reads(site: CallSite) -> bool:
    """Tell whether a call seems to change nothing and to need no turn: others like it may run beside it."""
    named = words(called_name(site))
    if named & CHANGING or site.callee.split(".")[0] in {"asyncio", "anyio"} or _is_serial(site):
        return False
    if site.target is not None:
        return _body_only_reads(site.target)
    return bool(named & READING) and called_name(site) not in _CHANGING_ALONE


def _is_serial(site: CallSite) -> bool:
    """Tell whether the call uses an object that serves one call at a time, as its own or as an argument."""
    used = [site.node.func.value] if isinstance(site.node.func, ast.Attribute) else []
    used += [*site.node.args, *(keyword.value for keyword in site.node.keywords)]
    return any(_serial_object(node, site.function) for node in used)


def _serial_object(node: ast.expr, function: Function) -> bool:
    held = function.scope.type_of(node)
    if held:
        return held in _apis.EXCLUSIVE_CLIENTS
    last = path_of(node).rpartition(".")[2] if isinstance(node, ast.Name | ast.Attribute) else ""
    return last.lower().lstrip("_") in _SERIAL_NAMES


def _body_only_reads(target: Function) -> bool:
    functions = {
        target,
        *(call.target for call in executed(target, lambda _: True) if call.target is not None),
    }
    return not any(_changes(function) for function in functions)


def _changes(function: Function) -> bool:
    if function.scope.outer_names:
        return True
    for node in function.nodes:
        if _is_written(node) and not _is_local(node, function):
            return True
    return any(_call_changes(call, function) or _takes_turns(call, function) for call in function.calls)


def _takes_turns(call: CallSite, function: Function) -> bool:
    """Tell whether a function awaits something on a session or the like that it shares with others."""
    func = call.node.func
    if call.target is not None or not isinstance(func, ast.Attribute) or _is_local(func.value, function):
        return False
    is_awaited = any(isinstance(node, ast.Await) and node.value is call.node for node in function.nodes)
    return is_awaited and _is_serial(call)


def _is_written(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)


def _call_changes(call: CallSite, function: Function) -> bool:
    if call.target is not None or not isinstance(call.node.func, ast.Attribute):
        return False
    if any(isinstance(node, ast.withitem) and node.context_expr is call.node for node in function.nodes):
        # `async with pool.acquire() as connection` takes a thing of its own.
        return _is_serial(call)
    named = words(call.node.func.attr) & CHANGING
    local = _is_local(call.node.func.value, function)
    return (
        bool(named) and not (local and named <= _CONTAINER_WORDS) and not isinstance(call.node.func.value, ast.Constant)
    )


def _is_local(node: ast.AST, function: Function) -> bool:
    parameters = {argument.arg for argument in function.parameters}
    return (root := _root(node)) in function.scope.values and root not in parameters


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""

"""What names mean: from an expression to the dotted name of a function or class, or to the type it holds.

Flow-insensitive, and honest: a name with two different known types has none. Types are dotted names of known
libraries (`_apis.py`) or of the project's own classes.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hasten.diagnose import _apis

if TYPE_CHECKING:
    from hasten.diagnose._definitions import Class, Function
    from hasten.diagnose._source import Module

_DEPTH = 12
"""Steps of inference before giving up: enough for real code, and a bound for names that mean each other."""


@dataclass(frozen=True, slots=True)
class Value:
    """An expression that a name is bound to, and how: `opaque` for a binding that says nothing."""

    node: ast.expr | None
    how: Literal["annotation", "assign", "default", "enter", "opaque"]


@dataclass(eq=False)
class Scope:
    """The names of a module, class or function, with the scope around it."""

    module: "Module"
    parent: "Scope | None"
    qualname: str
    is_class: bool = False
    function: "Function | None" = None
    instance: "tuple[str, Class] | None" = None
    imports: dict[str, str] = field(default_factory=dict)
    definitions: "dict[str, Class | Function]" = field(default_factory=dict)
    values: dict[str, list[Value]] = field(default_factory=dict)
    outer_names: set[str] = field(default_factory=set)

    @property
    def for_children(self) -> "Scope | None":
        """The scope that functions defined here look names up in: a class body is skipped."""
        return self.parent if self.is_class else self

    @property
    def instance_name(self) -> "tuple[str, Class] | None":
        """What `self` is called here, and the class it belongs to."""
        scope: Scope | None = self
        while scope is not None:
            if scope.instance is not None:
                return scope.instance
            scope = scope.parent
        return None

    def bind(self, name: str, value: Value) -> None:
        """Note that `name` is bound in this scope, or in the module's if declared global."""
        scope = self
        if name in self.outer_names:
            while scope.parent is not None:
                scope = scope.parent
        scope.values.setdefault(name, []).append(value)

    def holder(self, name: str) -> "Scope | None":
        """Return the scope that binds the name; None for builtins."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values or name in scope.imports or name in scope.definitions:
                return scope
            scope = scope.for_children if scope.is_class else scope.parent
        return None

    def dotted(self, node: ast.expr | None, depth: int = 0) -> str:
        """Return the dotted name of a function or class (`redis.Redis.get`); empty where unknown."""
        if node is None or depth > _DEPTH:
            return ""
        if isinstance(node, ast.Name):
            return self._dotted_name(node.id, depth)
        if isinstance(node, ast.Attribute):
            return self._dotted_attribute(node, depth)
        if isinstance(node, ast.Subscript):
            return self.dotted(node.value, depth + 1)
        return ""

    def target(self, call: ast.Call) -> "Function | None":
        """Return the project's function that a call runs."""
        return self.function_named(self.dotted(call.func))

    def function_named(self, dotted: str) -> "Function | None":
        """Return the project's function with that dotted name; a class stands for its `__init__`."""
        found = self.module.project.find(dotted, self.module) if dotted else None
        if found is None:
            return None
        module, rest = found
        made = module.named_classes.get(rest)
        return module.named_functions.get(rest) if made is None else made.methods.get("__init__")

    def class_named(self, dotted: str) -> "Class | None":
        """Return the project's class with that dotted name."""
        found = self.module.project.find(dotted, self.module) if dotted else None
        return found[0].named_classes.get(found[1]) if found is not None else None

    def type_of(self, node: ast.expr | None, depth: int = 0) -> str:
        """Return the dotted name of the type that an expression holds; empty where unknown."""
        if node is None or depth > _DEPTH:
            return ""
        match node:
            case ast.Name():
                return self.type_of_name(node.id, depth + 1)
            case ast.Attribute():
                return self._type_of_attribute(node, depth + 1)
            case ast.Call():
                return self._type_of_call(node, depth + 1)
            case ast.Await() | ast.NamedExpr():
                return self.type_of(node.value, depth + 1)
            case ast.BoolOp():
                return _single(self.type_of(value, depth + 1) for value in node.values)
            case ast.IfExp():
                return _single(self.type_of(value, depth + 1) for value in (node.body, node.orelse))
            case ast.BinOp(op=ast.Div()):
                left = self.type_of(node.left, depth + 1)
                return left if left == "pathlib.Path" else ""
            case ast.Subscript():
                return _apis.RETURNS.get(f"{self.type_of(node.value, depth + 1)}[]", "")
        return ""

    def annotated_type(self, node: ast.expr | None, depth: int = 0) -> str:
        """Return the type an annotation names: through `X | None`, quotes and `Annotated[X, Depends(f)]`."""
        if node is None or depth > _DEPTH:
            return ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.annotated_type(_parsed(node.value), depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _single(self.annotated_type(side, depth + 1) for side in (node.left, node.right))
        if isinstance(node, ast.Subscript):
            return self._subscripted_type(node, depth + 1)
        named = self.dotted(node, depth + 1)
        if named:
            return named
        return self.annotated_type(self._alias(node), depth + 1)

    def value_type(self, value: Value, depth: int = 0) -> str:
        """Return the type that a binding gives its name."""
        if value.how == "annotation":
            return self.annotated_type(value.node, depth)
        if value.how == "default":
            return self.depends_type(value.node, depth)
        if value.how == "enter":
            entered = self.type_of(value.node, depth)
            return _apis.RETURNS.get(f"{entered}.__enter__", entered)
        return self.type_of(value.node, depth) if value.node is not None else ""

    def depends_type(self, node: ast.expr | None, depth: int = 0) -> str:
        """Return what `Depends(function)` provides."""
        if not isinstance(node, ast.Call) or self.dotted(node.func, depth) not in _apis.DEPENDS or not node.args:
            return ""
        function = self.function_named(self.dotted(node.args[0], depth))
        return function.scope.returned_type(depth + 1) if function is not None else ""

    def returned_type(self, depth: int = 0) -> str:
        """Return the type that this function's calls give: its annotation, else what it returns or yields."""
        function = self.function
        if function is None or depth > _DEPTH or isinstance(function.node, ast.Lambda):
            return ""
        annotated = self.annotated_type(function.node.returns, depth + 1)
        if annotated:
            return annotated
        results = [node.value for node in function.nodes if isinstance(node, ast.Return | ast.Yield) and node.value]
        return _single(self.type_of(result, depth + 1) for result in results)

    def _dotted_name(self, name: str, depth: int) -> str:
        holder = self.holder(name)
        if holder is None:
            return name
        if name in holder.definitions:
            return holder.definitions[name].dotted
        if name in holder.imports:
            return self.imported(holder.imports[name], depth)
        alias = holder.alias(name)
        return holder.dotted(alias, depth + 1) if alias is not None else ""

    def alias(self, name: str) -> ast.expr | None:
        """Return the one name or attribute that a variable stands for (`get = requests.get`)."""
        values = self.values.get(name, [])
        if len(values) == 1 and values[0].how == "assign" and isinstance(values[0].node, ast.Name | ast.Attribute):
            return values[0].node
        return None

    def imported(self, dotted: str, depth: int = 0) -> str:
        """Return what an imported name stands for, followed through the project to where it comes from."""
        found = self.module.project.find(dotted, self.module)
        if found is None or depth > _DEPTH:
            return _apis.canonical(dotted)
        module, rest = found
        if not rest:
            return module.key
        head, _, tail = rest.partition(".")
        if head in module.scope.imports and head not in module.scope.definitions:
            source = module.scope.imported(module.scope.imports[head], depth + 1)
            return _apis.canonical(f"{source}.{tail}" if tail else source)
        return f"{module.key}.{rest}"

    def _dotted_attribute(self, node: ast.Attribute, depth: int) -> str:
        held = self.type_of(node.value, depth + 1)
        if held:
            return self._member(held, node.attr, depth + 1)
        base = self.dotted(node.value, depth + 1)
        return self.imported(f"{base}.{node.attr}", depth + 1) if base else ""

    def _member(self, held: str, attribute: str, depth: int) -> str:
        """Return the dotted name of a type's attribute, found where it is defined."""
        made = self.class_named(held)
        if made is None:
            return _apis.canonical(f"{held}.{attribute}")
        if attribute in made.methods:
            return made.methods[attribute].dotted
        if depth > _DEPTH:
            return ""
        for base in made.bases:
            if base and base != held:
                return self._member(base, attribute, depth + 1)
        return f"{held}.{attribute}"

    def type_of_name(self, name: str, depth: int = 0) -> str:
        """Return the type that a name holds, seen from this scope."""
        holder = self.holder(name)
        if holder is None:
            return ""
        known = self.module.project.types
        key = (holder, name)
        if key not in known:
            known[key] = ""  # for names that mean each other
            known[key] = holder.type_of_own(name, depth)
        return known[key]

    def type_of_own(self, name: str, depth: int = 0) -> str:
        """Return the type that a name of this very scope holds."""
        if self.instance is not None and self.instance[0] == name:
            return self.instance[1].dotted
        if name in self.imports:
            return self._type_of_imported(self.imports[name], depth)
        return _single(self.value_type(value, depth) for value in self.values.get(name, []))

    def _type_of_imported(self, dotted: str, depth: int) -> str:
        found = self.module.project.find(dotted, self.module)
        if found is None or not found[1] or "." in found[1] or depth > _DEPTH:
            return ""
        module, name = found
        return module.scope.type_of_name(name, depth + 1)

    def _type_of_attribute(self, node: ast.Attribute, depth: int) -> str:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "state":
            held = self.module.project.state.get(node.attr, [])
            return _single(scope.value_type(value, depth) for value, scope in held)
        base = self.type_of(node.value, depth)
        if base:
            return self._type_of_member(base, node.attr, depth)
        return self._type_of_imported(f"{self.dotted(node.value, depth)}.{node.attr}", depth)

    def _type_of_member(self, held: str, attribute: str, depth: int) -> str:
        made = self.class_named(held)
        if made is None:
            return _apis.RETURNS.get(f"{held}.{attribute}", "") if depth <= _DEPTH else ""
        if attribute in made.attributes:
            return _single(scope.value_type(value, depth) for value, scope in made.attributes[attribute])
        method = made.methods.get(attribute)
        if method is not None and {"property", "functools.cached_property"} & set(method.decorator_names):
            return method.scope.returned_type(depth + 1)
        bases = (base for base in made.bases if base and base != held)
        return _single(self._type_of_member(base, attribute, depth + 1) for base in bases)

    def _type_of_call(self, node: ast.Call, depth: int) -> str:
        made = self.type_of(node.func, depth) if isinstance(node.func, ast.Name) else ""
        if made:
            return _apis.RETURNS.get(f"{made}.__call__", "")
        callee = self.dotted(node.func, depth)
        if callee in _apis.PASS_THROUGH and node.args:
            return self.type_of(node.args[0], depth)
        if callee in _apis.RETURNS:
            return _apis.RETURNS[callee]
        if self.class_named(callee) is not None:
            return callee
        function = self.function_named(callee)
        if function is not None:
            return function.scope.returned_type(depth + 1)
        return callee if _looks_like_class(callee) else ""

    def _subscripted_type(self, node: ast.Subscript, depth: int) -> str:
        base = self.dotted(node.value, depth)
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base == "typing.Annotated" and items:
            provided = _single(self.depends_type(item, depth) for item in items[1:])
            return self.annotated_type(items[0], depth) or provided
        if base in _apis.WRAPPERS:
            return _single(self.annotated_type(item, depth) for item in items)
        return base

    def _alias(self, node: ast.expr) -> ast.expr | None:
        # `Database = Annotated[sqlite3.Connection, Depends(connect)]`, used as an annotation.
        holder = self.holder(node.id) if isinstance(node, ast.Name) else None
        values = holder.values.get(node.id, []) if holder is not None and isinstance(node, ast.Name) else []
        return values[0].node if len(values) == 1 and values[0].how == "assign" else None


def _single(types: Iterable[str]) -> str:
    """Return the one type among those known; empty when there are two."""
    known = {name for name in types if name and name != "None"}
    return known.pop() if len(known) == 1 else ""


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def _looks_like_class(dotted: str) -> bool:
    return dotted.rpartition(".")[2][:1].isupper()

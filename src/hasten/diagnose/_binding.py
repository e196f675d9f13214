"""Fills the scopes of a module: which name is defined, imported or assigned where."""

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hasten.diagnose._definitions import Class, Function, FunctionNode
from hasten.diagnose._names import Scope, Value

if TYPE_CHECKING:
    from hasten.diagnose._source import Module


def bind_names(module: "Module") -> None:
    """Note every binding of a module in its scopes, and its functions and classes in the module."""
    _Binder(module).visit_all(module.tree.body)


class _Binder(ast.NodeVisitor):
    def __init__(self, module: "Module") -> None:
        self.module = module
        self.scope = module.scope
        self.function: Function | None = None
        self.owner: Class | None = None

    def visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.scope.imports[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parts = Path(self.module.file).parts[1 : -node.level]
            base = ".".join([*parts, *([node.module] if node.module else [])])
        for alias in node.names:
            self.scope.imports[alias.asname or alias.name] = f"{base}.{alias.name}"

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        qualname = self._qualname(node.name)
        # Functions in a class body do not see its names: the body gets a scope whose children skip it.
        scope = Scope(self.module, self.scope, qualname, is_class=True)
        made = Class(self.module, node, qualname, scope)
        self.scope.definitions[node.name] = made
        self.module.named_classes[qualname] = made
        self.visit_all([*node.decorator_list, *node.bases])
        outer = self.scope, self.owner
        self.scope, self.owner = scope, made
        self.visit_all(node.body)
        self.scope, self.owner = outer
        for name, values in scope.values.items():
            made.attributes.setdefault(name, []).extend((value, scope) for value in values)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node, node.name, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node, node.name, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, "<lambda>", [node.body])

    def _function(self, node: FunctionNode, name: str, body: Sequence[ast.AST]) -> None:
        qualname = self._qualname(name)
        scope = Scope(self.module, self.scope.for_children, qualname)
        made = Function(self.module, node, qualname, scope, self.function, self.owner)
        scope.function = made
        if name != "<lambda>":
            self.scope.definitions[name] = made
        if self.owner is not None and self.scope.is_class:
            self.owner.methods[name] = made
        self.module.functions.append(made)
        self.module.named_functions[qualname] = made
        self._parameters(node, made)
        self.visit_all(getattr(node, "decorator_list", []))
        outer = self.scope, self.function, self.owner
        # `owner` stays for nested functions, so that their `self` is the method's.
        self.scope, self.function = scope, made
        self.visit_all(body)
        self.scope, self.function, self.owner = outer

    def _parameters(self, node: FunctionNode, made: Function) -> None:
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
        keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        for argument, default in [*zip(positional, defaults, strict=True), *keyword_only]:
            made.scope.bind(argument.arg, Value(argument.annotation, "annotation"))
            if default is not None:
                made.scope.bind(argument.arg, Value(default, "default"))
                self.visit(default)
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                made.scope.bind(extra.arg, Value(None, "opaque"))
        is_static = any(isinstance(name, ast.Name) and name.id == "staticmethod" for name in made.decorators)
        if self.owner is not None and self.scope.is_class and positional and not is_static:
            made.scope.instance = (positional[0].arg, self.owner)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, Value(node.value, "assign"))
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._assign(node.target, Value(node.annotation, "annotation"))
        if node.value is not None:
            self._assign(node.target, Value(node.value, "assign"))
            self.visit(node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, Value(node.value, "assign"))
        self.visit(node.value)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._assign(item.optional_vars, Value(item.context_expr, "enter"))
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.visit_With(node)

    def visit_Name(self, node: ast.Name) -> None:
        # Loop variables, `except as`, `del` and augmented targets: bound, with no known value.
        if isinstance(node.ctx, ast.Store):
            self.scope.bind(node.id, Value(None, "opaque"))

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.scope.outer_names.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.visit_Global(node)

    def _assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.scope.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            self._assign_attribute(target, value)
        elif isinstance(target, ast.Tuple | ast.List) and isinstance(value.node, ast.Tuple | ast.List):
            for part, item in zip(target.elts, value.node.elts, strict=False):
                self._assign(part, Value(item, value.how))
        elif isinstance(target, ast.Tuple | ast.List | ast.Starred):
            self.visit(target)

    def _assign_attribute(self, target: ast.Attribute, value: Value) -> None:
        base = target.value
        instance = self.scope.instance_name
        if isinstance(base, ast.Name) and instance is not None and base.id == instance[0]:
            instance[1].attributes.setdefault(target.attr, []).append((value, self.scope))
        elif isinstance(base, ast.Attribute) and base.attr == "state":
            # `app.state.client = ...` here is `request.app.state.client` anywhere else.
            self.module.project.state.setdefault(target.attr, []).append((value, self.scope))

    def _qualname(self, name: str) -> str:
        if not self.scope.qualname:
            return name
        return f"{self.scope.qualname}.{name}" if self.scope.is_class else f"{self.scope.qualname}.<locals>.{name}"

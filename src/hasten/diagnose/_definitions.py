"""What a source file defines: functions and classes, with the qualified names the interpreter gives them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from hasten.diagnose._names import Scope, Value

if TYPE_CHECKING:
    from hasten.diagnose._source import Module

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(eq=False)
class Class:
    """A class of the project."""

    module: "Module"
    node: ast.ClassDef
    qualname: str
    scope: Scope
    methods: dict[str, "Function"] = field(default_factory=dict)
    attributes: dict[str, list[tuple[Value, Scope]]] = field(default_factory=dict)

    @property
    def dotted(self) -> str:
        """The name by which the project knows it."""
        return f"{self.module.key}.{self.qualname}"

    @cached_property
    def bases(self) -> tuple[str, ...]:
        """Dotted names of the base classes."""
        around = self.scope.parent or self.module.scope
        return tuple(around.dotted(base) for base in self.node.bases)


@dataclass(frozen=True, slots=True)
class CallSite:
    """One call in a function.

    Attributes:
      callee: Dotted name of what is called (`requests.get`); empty where unknown.
      target: The project's function that it runs; None for a library's.
    """

    function: "Function"
    node: ast.Call
    callee: str
    target: "Function | None"

    @property
    def line(self) -> int:
        return self.node.func.end_lineno or self.node.lineno


@dataclass(eq=False)
class Function:
    """A function, method or lambda of the project; `qualname` equals its code object's `co_qualname`."""

    module: "Module"
    node: FunctionNode
    qualname: str
    scope: Scope
    parent: "Function | None"
    owner: Class | None

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def name(self) -> str:
        return "<lambda>" if isinstance(self.node, ast.Lambda) else self.node.name

    @property
    def dotted(self) -> str:
        """The name by which the project knows it."""
        return f"{self.module.key}.{self.qualname}"

    @property
    def outer(self) -> Scope:
        """The scope in which its decorators, defaults and annotations are looked up."""
        return self.scope.parent or self.module.scope

    @property
    def signature(self) -> tuple[ast.AST, ...]:
        """Every node of its decorators, parameters and annotations."""
        returns = getattr(self.node, "returns", None)
        roots = [*self.decorators, self.node.args, *([returns] if returns is not None else [])]
        return tuple(node for root in roots for node in ast.walk(root))

    @property
    def body(self) -> list[ast.stmt]:
        """Its statements; a lambda has none."""
        return [] if isinstance(self.node, ast.Lambda) else self.node.body

    @property
    def decorators(self) -> list[ast.expr]:
        return [] if isinstance(self.node, ast.Lambda) else self.node.decorator_list

    @cached_property
    def decorator_names(self) -> tuple[str, ...]:
        """Dotted names of the decorators, without their arguments."""
        return tuple(self.outer.dotted(_callee(decorator)) for decorator in self.decorators)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node that runs when the function runs: nested functions, lambdas and classes are left out."""
        roots = [self.node.body] if isinstance(self.node, ast.Lambda) else self.node.body
        return tuple(node for root in roots for node in own_nodes(root))

    @cached_property
    def calls(self) -> tuple[CallSite, ...]:
        """The calls it makes itself, in source order."""
        return tuple(
            CallSite(self, node, callee := self.scope.dotted(node.func), self.scope.function_named(callee))
            for node in self.nodes
            if isinstance(node, ast.Call)
        )

    @property
    def parameters(self) -> tuple[ast.arg, ...]:
        """Its named parameters, `self` included."""
        arguments = self.node.args
        return (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)

    @property
    def place(self) -> tuple[str, str]:
        """File and qualified name, as accounts name it."""
        return self.module.file, self.qualname

    @property
    def lines(self) -> range:
        """The lines it spans."""
        return range(self.node.lineno, (self.node.end_lineno or self.node.lineno) + 1)


def own_nodes(root: ast.AST) -> Iterator[ast.AST]:
    """Yield `root` and what runs with it, in source order, without nested functions and classes."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _NESTED):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _callee(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator

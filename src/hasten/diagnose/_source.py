"""Source files as syntax trees with the questions that rules ask: what is defined where, what a name means.

`Project` holds the files that are read together, `Module` one of them. What they define is in
`_definitions.py`, what names mean in `_names.py` (filled by `_binding.py`), which call leads where in
`_calls.py`, and what a function is for (route, start-up) in `_roles.py`.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hasten.diagnose._binding import bind_names
from hasten.diagnose._definitions import Class, Function
from hasten.diagnose._names import Scope, Value


@dataclass(eq=False)
class Module:
    """One source file.

    Attributes:
      file: Absolute path.
      key: The path as a dotted name, unique in the project; imports resolve to it.
      functions: All functions in order of their first line, lambdas included.
      named_functions, named_classes: By qualified name; of two with one name the last.
    """

    file: str
    source: str
    tree: ast.Module
    project: "Project"
    key: str = ""
    scope: Scope = field(init=False)
    functions: list[Function] = field(default_factory=list)
    named_functions: dict[str, Function] = field(default_factory=dict)
    named_classes: dict[str, Class] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = ".".join(_module_parts(Path(self.file)))
        self.scope = Scope(self, None, "")
        bind_names(self)

    @classmethod
    def parse(cls, path: Path | str, project: "Project | None" = None) -> "Module":
        """Read one file.

        Raises:
          SyntaxError: the file is no Python.
          ValueError: it is not text or holds null bytes.
          OSError: it cannot be read.
        """
        file = Path(path).absolute()
        data = file.read_bytes()
        tree = ast.parse(data, filename=str(file))
        module = cls(str(file), _decode(data), tree, project if project is not None else Project())
        module.project.add(module)
        return module

    def function_at(self, line: int) -> str:
        """Return the qualified name of the innermost function that spans the line, `<module>` outside any."""
        inside = [function for function in self.functions if line in function.lines]
        return min(inside, key=lambda function: len(function.lines)).qualname if inside else "<module>"

    @cached_property
    def top_nodes(self) -> tuple[ast.AST, ...]:
        """Every node that runs at import, class bodies included."""
        found: list[ast.AST] = []
        waiting: list[ast.AST] = list(reversed(self.tree.body))
        while waiting:
            node = waiting.pop()
            found.append(node)
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                waiting.extend(reversed(list(ast.iter_child_nodes(node))))
        return tuple(found)


class Project:
    """The source files that are read together, so that a call can be followed into another file.

    Attributes:
      modules: By `Module.key`.
      state: What is assigned to `app.state.NAME` anywhere, by name.
      types: Types of names that were worked out, by scope and name.
      per_request: The functions that run for every request, once worked out (see `_roles.per_request`).
    """

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        self.state: dict[str, list[tuple[Value, Scope]]] = {}
        self.types: dict[tuple[Scope, str], str] = {}
        self.per_request: frozenset[Function] | None = None
        self._suffixes: dict[str, list[Module]] = {}

    def add(self, module: Module) -> None:
        """Make the module's names known to the others; what was worked out without it is forgotten."""
        self.types.clear()
        self.per_request = None
        self.modules[module.key] = module
        for suffix in _import_names(Path(module.file)):
            self._suffixes.setdefault(suffix, []).append(module)

    @property
    def functions(self) -> Iterator[Function]:
        """All functions of all modules."""
        return (function for module in self.modules.values() for function in module.functions)

    def find(self, dotted: str, near: Module) -> tuple[Module, str] | None:
        """Return the module that a dotted name starts with, seen from `near`, and the rest of the name."""
        head, rest = dotted, ""
        while head:
            module = self.modules.get(head) or self._nearest(head, near)
            if module is not None:
                return module, rest
            head, _, last = head.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
        return None

    def _nearest(self, name: str, near: Module) -> Module | None:
        # A directory is on sys.path only if it is the importer's, one above it, or `src` beside one of these.
        best: tuple[int, Module] | None = None
        for module in self._suffixes.get(name, ()):
            root = module.key[: -len(name)].rstrip(".") if module.key.endswith(name) else ""
            above = root.removesuffix(".src")
            if (near.key + ".").startswith(above + ".") or not above:
                best = max(best or (len(root), module), (len(root), module), key=lambda pair: pair[0])
        return best[1] if best else None


def _decode(data: bytes) -> str:
    # Only comments are read from the text, so a byte that a declared encoding explains may be lost.
    return data.decode("utf-8", errors="replace")


def _module_parts(file: Path) -> tuple[str, ...]:
    parts = file.with_suffix("").parts[1:]
    return parts[:-1] if parts[-1] == "__init__" else parts


def _import_names(file: Path) -> Iterator[str]:
    """Yield the names under which a file may be imported: those whose root directory is no package itself."""
    parts = _module_parts(file)
    root = file.parent.parent if file.stem == "__init__" else file.parent
    for start in range(len(parts) - 1, -1, -1):
        if not (root / "__init__.py").exists():
            yield ".".join(parts[start:])
        root = root.parent

"""Finds the FastAPI app of a project in its source: nothing is imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.diagnose import Module
from hasten.diagnose._static import python_files, read_project

_FASTAPI = "fastapi.FastAPI"
_MOST_NAMED = 5


class App(msgspec.Struct, frozen=True, kw_only=True):
    """Where a project's app is.

    Attributes:
      target: `module:attribute`.
      file: Of the module, from the project's folder; empty where no module there makes such an app.
      source: Folder that modules are imported from, from the project's folder: `src`, or empty for the folder itself.
      installed: File and line that call `hasten.install` already; empty for none.
      reached: Whether that call says where the admin port is: without it, other machines do not reach it.
    """

    target: str
    file: str = ""
    source: str = ""
    installed: str = ""
    reached: bool = False

    @property
    def attribute(self) -> str:
        """Its name in the module."""
        return self.target.partition(":")[2]


def find_app(root: Path, wanted: str, where: str = "--app") -> App:
    """Return the one FastAPI app below a folder, or the wanted one.

    An app counts if its module binds it at the top: `app = FastAPI()`, `app = make_app()`.

    Args:
      wanted: `module:attribute`; empty for the only one there is.
      where: What has named it, for errors.
    Raises:
      ConfigurationError: there is none, there are several, or `wanted` is of another form.
    """
    project, _ = read_project(python_files([root]))
    modules = list(project.modules.values())
    found = [one for module in modules for one in _apps(module, root)]
    calls = [(place, reached) for module in modules for place, reached in _installations(module, root)]
    installed, reached = calls[0] if calls else ("", False)
    if wanted:
        module, _, attribute = wanted.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), attribute)):
            raise ConfigurationError(f"{where} {wanted}", "not of the form module:app", "for example main:app")
        known = next((one for one in found if one.target == wanted), None)
        chosen = known or App(target=wanted, source="src" if (root / "src").is_dir() else "")
    elif len(found) == 1:
        chosen = found[0]
    else:
        raise _unclear(root, [one.target for one in found])
    return msgspec.structs.replace(chosen, installed=installed, reached=reached)


def _unclear(root: Path, targets: list[str]) -> ConfigurationError:
    if not targets:
        return ConfigurationError(str(root), "no module here makes a FastAPI app", "name yours: --app module:app")
    more = ", ..." if len(targets) > _MOST_NAMED else ""
    named = ", ".join(targets[:_MOST_NAMED]) + more
    return ConfigurationError(str(root), f"several FastAPI apps: {named}", f"name one: --app {targets[0]}")


def _apps(module: Module, root: Path) -> Iterator[App]:
    """Yield the apps that a module binds at its top, each once."""
    file = Path(module.file).relative_to(root)
    source = "src" if file.parts[0] == "src" and not (root / "src" / "__init__.py").exists() else ""
    parts = file.with_suffix("").parts[1 if source else 0 :]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    if not parts or not all(part.isidentifier() for part in parts):
        return
    for name in dict.fromkeys(_bound(module)):
        yield App(target=f"{'.'.join(parts)}:{name}", file=file.as_posix(), source=source)


def _bound(module: Module) -> Iterator[str]:
    for statement in module.tree.body:
        match statement:
            case ast.Assign(targets=targets, value=value) if module.scope.type_of(value) == _FASTAPI:
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call() as value):
                if module.scope.type_of(value) == _FASTAPI:
                    yield name


def _installations(module: Module, root: Path) -> Iterator[tuple[str, bool]]:
    """Yield file and line of each call of `hasten.install`, and whether it says where the admin port is."""
    if "hasten" not in module.source:
        return
    scopes = [(module.scope, module.top_nodes)]
    scopes += [(function.scope, function.nodes) for function in module.functions]
    for scope, nodes in scopes:
        for node in nodes:
            if isinstance(node, ast.Call) and scope.dotted(node.func) == "hasten.install":
                place = f"{Path(module.file).relative_to(root).as_posix()}:{node.lineno}"
                yield place, any(keyword.arg in {"admin", None} for keyword in node.keywords)

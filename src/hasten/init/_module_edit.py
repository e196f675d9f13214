"""Adds `hasten.install` to the module of an app: lines are added by their positions in the syntax tree, none changes.

What comes of it is parsed and compared with what was there: an edit that would do anything else is not made.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterable, Sequence

import msgspec

from hasten.diagnose._definitions import own_nodes

_INSTALL = """
{app} = hasten.install(
    {app},
    service="{service}",
{slo}    admin=os.environ.get("HASTEN_ADMIN", "127.0.0.1:9464"),
    admin_token=os.environ.get("HASTEN_ADMIN_TOKEN", ""),
)
"""
_SLO = '    slo=os.environ.get("HASTEN_SLO", "slo.toml"),\n'
_NEEDED = ("os", "hasten")
_Import = ast.Import | ast.ImportFrom


def installation(app: str, service: str, *, slo: bool) -> str:
    """Return the lines that install hasten into the app of that name."""
    return _INSTALL.format(app=app, service=service, slo=_SLO if slo else "")


def decode(data: bytes) -> tuple[str, str]:
    """Return the text of a Python file, line ends as they are, and its encoding.

    Raises:
      SyntaxError: it names an encoding that there is not.
      UnicodeDecodeError: it is not in its encoding.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding), encoding


def add_installation(source: str, app: str, service: str, *, slo: bool) -> str | None:
    """Return the module's text with hasten installed into its app; None where that is not plainly safe.

    The app is installed into behind the last statement, in front of what runs only as a script: it is complete there.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if _binds_otherwise(tree):
        return None
    lines = list(io.StringIO(source, newline=""))
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    last, end = _end(tree, len(lines))
    if not _binds(tree, app, end):
        return None
    text = installation(app, service, slo=slo)
    if isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        text = "\n" + text
    added = sorted([*_imports(tree, end), _Lines(end, text)], key=lambda one: one.after)
    made = _inserted(lines, added, ending)
    return made if _adds_alone(tree, made, added) else None


class _Lines(msgspec.Struct, frozen=True):
    """Lines to add behind line `after`, counted from 1; 0 is the beginning."""

    after: int
    text: str


# ---- where


def _imports(tree: ast.Module, end: int) -> list[_Lines]:
    """Return the imports that are missing in front of line `end`, where import sorters would have them."""
    present = {
        alias.name
        for statement in tree.body
        if isinstance(statement, ast.Import) and statement.lineno <= end
        for alias in statement.names
        if alias.asname in {None, alias.name}
    }
    block = _import_block(tree)
    standard = [one for one in block if _module_of(one) in sys.stdlib_module_names]
    installed = [one for one in block if one not in standard and not getattr(one, "level", 0)]
    missing = []
    if "os" not in present:
        text = "import os\n" if standard or not block else "import os\n\n"
        missing.append(_Lines(_place("os", standard, block[0].lineno - 1 if block else _head(tree)), text))
    if "hasten" not in present:
        behind = (block[-1].end_lineno or 0) if block else _head(tree)
        missing.append(_Lines(_place("hasten", installed, behind), "import hasten\n"))
    return missing


def _place(name: str, section: Sequence[_Import], otherwise: int) -> int:
    """Return the line behind which `import NAME` belongs in a section of imports, or another one without any."""
    smaller = [one for one in section if isinstance(one, ast.Import) and one.names[0].name < name]
    if smaller:
        return smaller[-1].end_lineno or 0
    return section[0].lineno - 1 if section else otherwise


def _import_block(tree: ast.Module) -> list[_Import]:
    """Return the imports at the top that stand together, without those from __future__."""
    block: list[_Import] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if _module_of(statement) != "__future__":
                block.append(statement)
        elif block:
            break
    return block


def _module_of(statement: _Import) -> str:
    """Return the top package that an import is from; empty for a relative one."""
    name = statement.names[0].name if isinstance(statement, ast.Import) else statement.module or ""
    return "" if getattr(statement, "level", 0) else name.partition(".")[0]


def _head(tree: ast.Module) -> int:
    """Return the last line of docstring and imports from __future__; 0 without."""
    last = 0
    for number, statement in enumerate(tree.body):
        is_docstring = number == 0 and ast.get_docstring(tree, clean=False) is not None
        if not is_docstring and getattr(statement, "module", None) != "__future__":
            break
        last = statement.end_lineno or 0
    return last


def _end(tree: ast.Module, lines: int) -> tuple[ast.stmt | None, int]:
    """Return the last statement that runs when the module is imported, and the line to add others behind it."""
    last: ast.stmt | None = None
    for statement in tree.body:
        if isinstance(statement, ast.If) and _is_script_guard(statement.test):
            return last, (last.end_lineno or 0) if last else 0
        last = statement
    return last, lines


def _is_script_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and "__name__" in ast.unparse(test) and "__main__" in ast.unparse(test)


# ---- whether


def _binds(tree: ast.Module, app: str, end: int) -> bool:
    """Tell whether the module gives something the app's name, in front of line `end`."""
    return any(
        isinstance(node, ast.Name) and node.id == app and isinstance(node.ctx, ast.Store)
        for statement in tree.body
        if (statement.end_lineno or 0) <= end
        for node in own_nodes(statement)
    )


def _binds_otherwise(tree: ast.Module) -> bool:
    """Tell whether the module's `os` or `hasten` may be something else than the module of that name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                bound = [alias.asname for alias in names if alias.asname and alias.asname != alias.name]
            case ast.ImportFrom(names=names):
                bound = [alias.asname or alias.name for alias in names]
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                bound = [name]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound = [name]
            case _:
                continue
        if set(bound) & set(_NEEDED):
            return True
    return False


def _inserted(lines: list[str], added: Iterable[_Lines], ending: str) -> str:
    """Return the text with the lines added, the first of several at one place first."""
    made = list(lines)
    if made and not made[-1].endswith(("\n", "\r")):
        made[-1] += ending
    for one in reversed(list(added)):
        made.insert(one.after, one.text.replace("\n", ending))
    return "".join(made)


def _adds_alone(before: ast.Module, made: str, added: Iterable[_Lines]) -> bool:
    """Tell whether a text says what was there, in its order, and what was added, at the top, and nothing else."""
    try:
        after = ast.parse(made)
        compile(made, "module", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return False
    left = [ast.dump(statement) for statement in before.body]
    new = [ast.dump(statement) for one in added for statement in ast.parse(one.text).body]
    for statement in after.body:
        dumped = ast.dump(statement)
        if left and dumped == left[0]:
            left.pop(0)
        elif dumped in new:
            new.remove(dumped)
        else:
            return False
    return not left and not new and ast.get_docstring(before) == ast.get_docstring(after)

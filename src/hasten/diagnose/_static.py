"""The static half of the diagnosis: every rule's candidates in source files, less what `# noqa` waives.

A candidate says that a line may cost time; whether it does, only recorded requests prove (`hasten doctor`).
"""

import io
import os
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.diagnose._ruff import find_ruff, ruff_findings
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module, Project
from hasten.diagnose.rules import RULES

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "venv", "env"})
_TEST_FOLDERS = frozenset({"test", "tests"})
_NOQA = re.compile(r"#\s*noqa\b(:\s*(?P<codes>[A-Z]+[0-9]*(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]+[0-9]*")

_ONCE_PER_FILE = frozenset({"HS306"})

_SAME_TRAP: Mapping[str, frozenset[str]] = {
    "HS101": frozenset(
        {
            "ASYNC210",
            "ASYNC212",
            "ASYNC220",
            "ASYNC221",
            "ASYNC222",
            "ASYNC230",
            "ASYNC240",
            "ASYNC250",
            "ASYNC251",
        }
    ),
}
"""By our code, what ruff says about the same trap on the same line."""


class Unreadable(msgspec.Struct, frozen=True):
    """A file that could not be checked, and why."""

    file: str
    line: int
    reason: str


class StaticReport(msgspec.Struct, frozen=True):
    """What `hasten check` found.

    Attributes:
      files: Files that were read.
      findings: By file, line and code.
      unreadable: Files that are no valid Python or could not be opened.
      without_ruff: Whether ruff's ASYNC rules were wanted, but ruff is not installed.
    """

    files: int
    findings: tuple[Candidate, ...]
    unreadable: tuple[Unreadable, ...]
    without_ruff: bool


class Selection(msgspec.Struct, frozen=True):
    """Which codes are wanted: beginnings such as `HS3`, `HS302`, `ASYNC`; the longest that fits decides."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def wants(self, code: str) -> bool:
        """Tell whether findings of this code are shown."""
        wanted = max((len(prefix) for prefix in self.select if code.startswith(prefix)), default=-1)
        waived = max((len(prefix) for prefix in self.ignore if code.startswith(prefix)), default=-1)
        return wanted > waived or (not self.select and waived < 0)

    def wants_some(self, family: str) -> bool:
        """Tell whether some code that begins with `family` may be shown."""
        named = [code for code in self.select if code.startswith(family)]
        return bool(named) or self.wants(family)


EVERYTHING = Selection()


def check(paths: Sequence[Path], selection: Selection = EVERYTHING, rules: Iterable[Rule] = RULES) -> StaticReport:
    """Return every rule's candidates in the files at `paths`, with ruff's ASYNC rules if it is installed.

    Raises:
      ConfigurationError: a path does not exist, or is a file that is no Python.
    """
    files = python_files(paths)
    project, unreadable = read_project(files)
    found = list(_once_per_file(candidates(project, rules)))
    with_ruff = selection.wants_some("ASYNC")
    ruff = find_ruff() if with_ruff else None
    if ruff is not None:
        read = [Path(module.file) for module in project.modules.values()]
        found += _not_ours(ruff_findings(read, project, ruff), found)
    wanted = [candidate for candidate in found if selection.wants(candidate.code)]
    return StaticReport(
        files=len(project.modules),
        findings=tuple(sorted(_not_waived(wanted, project), key=lambda each: (each.file, each.line, each.code))),
        unreadable=tuple(unreadable),
        without_ruff=with_ruff and ruff is None,
    )


def python_files(paths: Iterable[Path]) -> list[Path]:
    """Return the Python files at `paths`, folders walked, each once, in order.

    In folders, hidden ones, virtual environments, caches, `node_modules` and tests are left out; what is
    named in `paths` itself is taken.

    Raises:
      ConfigurationError: a path does not exist, or is a file that is no Python.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(_walk(path.absolute())))
        elif not path.exists():
            raise ConfigurationError(str(path), "no such file or folder")
        elif path.suffix != ".py":
            raise ConfigurationError(str(path), "is no Python file")
        else:
            found[Path(os.path.normpath(path.absolute()))] = None
    return list(found)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(os.path.normpath(root)):
        folders[:] = sorted(name for name in folders if _is_walked(Path(folder, name)))
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py") and not _is_test(name))


def _is_walked(folder: Path) -> bool:
    name = folder.name
    if name.startswith(".") or name in _SKIPPED | _TEST_FOLDERS or name.endswith(".egg-info"):
        return False
    return not (folder / "pyvenv.cfg").exists()


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def read_project(files: Iterable[Path]) -> tuple[Project, list[Unreadable]]:
    """Parse the files together; those that cannot be read are told apart."""
    project = Project()
    unreadable: list[Unreadable] = []
    for file in files:
        try:
            Module.parse(file, project)
        except SyntaxError as error:
            unreadable.append(Unreadable(str(file), error.lineno or 1, f"syntax error: {error.msg}"))
        except (ValueError, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            unreadable.append(Unreadable(str(file), 1, f"cannot be read: {reason}"))
        except RecursionError:
            unreadable.append(Unreadable(str(file), 1, "cannot be read: nested too deeply"))
    return project, unreadable


def candidates(project: Project, rules: Iterable[Rule] = RULES) -> Iterator[Candidate]:
    """Yield every rule's candidates in all files of a project, each place once a code."""
    seen: set[tuple[str, str, int, str]] = set()
    for rule in rules:
        for module in tuple(project.modules.values()):
            for candidate in rule.candidates(module):
                key = (candidate.code, candidate.file, candidate.line, candidate.function)
                if key not in seen:
                    seen.add(key)
                    yield candidate


def _once_per_file(found: Iterable[Candidate]) -> Iterator[Candidate]:
    """Pass candidates on; of those about the client that a file uses only the first, with their number."""
    first: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in found:
        if candidate.code in _ONCE_PER_FILE:
            first.setdefault((candidate.code, candidate.file), []).append(candidate)
        else:
            yield candidate
    for same in first.values():
        others = len(same) - 1
        more = f" (and in {others} more function{'s' if others > 1 else ''} of this file)" if others else ""
        yield msgspec.structs.replace(same[0], message=same[0].message + more)


def _not_ours(theirs: Iterable[Candidate], ours: Iterable[Candidate]) -> list[Candidate]:
    """Return what ruff found but for what a rule of ours says about the same line."""
    said = {
        (found.file, line, code) for found in ours for line in found.lines for code in _SAME_TRAP.get(found.code, ())
    }
    return [found for found in theirs if (found.file, found.line, found.code) not in said]


def _not_waived(found: Iterable[Candidate], project: Project) -> Iterator[Candidate]:
    modules = {module.file: module for module in project.modules.values()}
    waivers: dict[str, Mapping[int, Collection[str]]] = {}
    for candidate in found:
        waived = waivers.get(candidate.file)
        if waived is None:
            waived = waivers[candidate.file] = noqa_lines(modules[candidate.file].source)
        codes = waived.get(candidate.line)
        if codes is None or (codes and not any(candidate.code.startswith(code) for code in codes)):
            yield candidate


def noqa_lines(source: str) -> dict[int, frozenset[str]]:
    """Return by line the beginnings of codes that a `# noqa` comment waives; an empty set waives all."""
    if "noqa" not in source.lower():
        return {}
    waived: dict[int, frozenset[str]] = {}
    try:  # the parser took the file, but where its encoding is not UTF-8 the tokenizer may not
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            match = _NOQA.search(token.string) if token.type == tokenize.COMMENT else None
            if match is not None:
                waived[token.start[0]] = frozenset(_CODE.findall((match["codes"] or "").upper()))
    except (tokenize.TokenError, SyntaxError):
        return waived
    return waived

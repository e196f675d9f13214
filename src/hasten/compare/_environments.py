"""What the revisions of a repository are run by: the current Python where they need what it has, else one of their own.

    same needs as the working tree ──▶ the current environment, the revision's files before the working tree's
    other needs                    ──▶ a virtual environment that the project is installed into, shared by revisions
                                       with the same needs
    --setup COMMAND                ──▶ runs in each worktree instead; a .venv that it makes there is used

An environment that knows the project by an editable install imports the working tree's files. Whether it is really the
revision's that are imported is seen by importing the app, once, before it is served.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hasten
from hasten._core.errors import ConfigurationError
from hasten.compare._git import Repository, Revision
from hasten.compare._needs import installs, needs_of
from hasten.compare._sides import Workplace
from hasten.compare._step import StepFailed, run_step

Announce = Callable[[str], None]

_PROBE_SECONDS = 60.0

# Writes what an environment has: its paths, its folders, and where it finds modules of these names.
_LOOK = """
import importlib.util, json, pathlib, sys, sysconfig
found = []
for name in sys.argv[2:]:
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        continue
    if spec is not None:
        places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
        found.append(str(pathlib.Path(places[0]).parent))
seen = {"places": [*filter(None, sys.path), *found], "prefix": sys.prefix, "packages": sysconfig.get_path("purelib")}
pathlib.Path(sys.argv[1]).write_text(json.dumps(seen))
"""
# Imports an app as it will be served, and writes the files that have been imported.
_IMPORT = """
import importlib, json, pathlib, sys
sys.path.insert(0, "")
try:
    importlib.import_module(sys.argv[2])
except BaseException:
    pass
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
pathlib.Path(sys.argv[1]).write_text(json.dumps([file for file in files if isinstance(file, str)]))
"""
# Behind all that is installed: hasten itself, with what it needs, where the project does not name it.
_LEND = "import site; site.addsitedir({folder!r})\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How revisions are prepared.

    Attributes:
      setup: Shell command that runs in each worktree; empty to install the project as it says.
      timeout: Seconds it may take, for each.
    """

    setup: str = ""
    timeout: float = 600.0


class Environments:
    """Makes the workplaces of one comparison.

    Args:
      app: `module:app` that will be served.
      scratch: Folder for environments and logs; whoever gives it removes it.
    """

    def __init__(
        self, repository: Repository, app: str, preparation: Preparation, scratch: Path, announce: Announce
    ) -> None:
        self._repository = repository
        self._module = app.partition(":")[0]
        self._preparation = preparation
        self._scratch = scratch
        self._announce = announce
        self._made: dict[str, str] = {}  # Python by the digest of what it was made for
        self._roots = [repository.root.resolve()]

    def workplace(self, revision: Revision, root: Path) -> Workplace:
        """Return where and by which Python a revision, whose files are at `root`, is served.

        Raises:
          ConfigurationError: its environment cannot be made in time, or would import another revision's files.
        Cancellation: what is under way is ended.
        """
        root = root.resolve()
        folder = root / self._repository.inside
        if not folder.is_dir():
            problem = f"it has no folder {self._repository.inside}"
            raise ConfigurationError(f"--git {revision.name}", problem, "run it in a folder that both revisions have")
        if not revision.commit:
            return Workplace(folder=folder)
        self._roots.append(root)
        if self._preparation.setup:
            return self._checked(revision, self._set_up(revision, root, folder), root, folder)
        needs = needs_of(root, folder)
        if needs == needs_of(self._repository.root, self._repository.root / self._repository.inside):
            workplace = self._over(sys.executable, root, folder)
            if not self._strays(workplace, root, folder):
                return workplace
        return self._checked(revision, self._installed(revision, needs, root, folder), root, folder)

    def _set_up(self, revision: Revision, root: Path, folder: Path) -> str:
        """Run the setup command; return the Python that it has made, or the current one."""
        self._announce(f"setting up {revision.name}")
        command = ["/bin/sh", "-c", self._preparation.setup]
        self._run(f"--setup for {revision.name}", command, folder)
        for place in dict.fromkeys((folder, root)):
            python = _python_of(place / ".venv")
            if python.exists():
                self._lend_hasten(revision, str(python))
                return str(python)
        return sys.executable

    def _installed(self, revision: Revision, needs: str, root: Path, folder: Path) -> str:
        """Return the Python of an environment that the project is installed into."""
        if made := self._made.get(needs):
            return made
        self._announce(f"installing {revision.name} into an environment of its own")
        environment = self._scratch / f"environment-{len(self._made)}"
        where = f"environment of {revision.name}"
        self._run(where, [sys.executable, "-m", "venv", str(environment)], folder)
        python = str(_python_of(environment))
        if wanted := installs(root, folder):
            quiet = ["--disable-pip-version-check", "--no-input", "--quiet"]
            self._run(where, [python, "-m", "pip", "install", *quiet, *wanted], folder)
        self._lend_hasten(revision, python)
        self._made[needs] = python
        return python

    def _checked(self, revision: Revision, python: str, root: Path, folder: Path) -> Workplace:
        workplace = self._over(python, root, folder)
        if strays := self._strays(workplace, root, folder):
            problem = f"it would import {strays[0]}, which is not its own"
            remedy = "give it an environment of its own by --setup"
            raise ConfigurationError(f"--git {revision.name}", problem, remedy)
        return workplace

    def _over(self, python: str, root: Path, folder: Path) -> Workplace:
        """Return a workplace where what `python` finds in another tree of the project is found in this one first."""
        names = sorted({name for place in dict.fromkeys((folder, root, root / "src")) for name in _modules(place)})
        seen = self._look(python, names)
        prefix = Path(seen["prefix"]).resolve()
        own = [own for place in seen["places"] if (own := self._own(Path(place).resolve(), prefix, root))]
        given = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join([*dict.fromkeys(own), *([given] if given else [])])
        return Workplace(folder=folder, python=python, environment={"PYTHONPATH": path} if path else {})

    def _own(self, place: Path, prefix: Path, root: Path) -> str:
        """Return what a folder of another tree is in this one; empty for one of no tree, or that is not here."""
        if place.is_relative_to(prefix):  # the environment itself may lie in the working tree
            return ""
        for tree in self._roots:
            if place.is_relative_to(tree):
                here = root / place.relative_to(tree)
                return str(here) if here.is_dir() else ""
        return ""

    def _look(self, python: str, names: Sequence[str] = ()) -> dict[str, Any]:
        """Return what an environment has: `places`, `prefix`, `packages`."""
        try:  # in the scratch folder there is nothing to import
            seen: dict[str, Any] = self._told([python, "-c", _LOOK], names, self._scratch, {})
        except StepFailed as failed:
            raise ConfigurationError(f"environment {python}", str(failed), "--setup replaces it") from failed
        return seen

    def _strays(self, workplace: Workplace, root: Path, folder: Path) -> list[str]:
        """Return the files of another tree of the project that are imported with the app."""
        command = [workplace.python, "-c", _IMPORT]
        try:
            files = self._told(command, [self._module], folder, workplace.environment)
        except StepFailed:  # what is wrong with the app is said when it is served
            return []
        own = (root, Path(workplace.python).parent.parent.resolve())
        others = tuple(tree for tree in self._roots if tree != root)
        return [file for file in files if _within(file, others) and not _within(file, own)]

    def _told(self, command: list[str], arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Any:
        """Return what a program writes into the file that it is given; what it prints may be anything.

        Raises:
          StepFailed: it does not end well, or in time.
        """
        answer = self._scratch / "answer.json"
        answer.unlink(missing_ok=True)
        log = self._scratch / "program.log"
        run_step([*command, str(answer), *arguments], folder, variables, log, _PROBE_SECONDS)
        if not answer.exists():
            raise StepFailed("it ended before it told anything")
        return json.loads(answer.read_text())

    def _lend_hasten(self, revision: Revision, python: str) -> None:
        """Let an environment find hasten, and what it needs, behind its own packages."""
        if self._serves(python):
            return
        ours = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
        folders = dict.fromkeys([str(Path(hasten.__file__).parents[1]), *ours])
        lines = [_LEND.format(folder=folder) for folder in folders]
        last = Path(self._look(python)["packages"], "zz_hasten.pth")  # of the alphabet: it goes behind all others
        last.write_text("".join(lines), encoding="utf-8")
        if not self._serves(python):  # why, is of no use to the user: mostly the Pythons differ
            remedy = f"use Python {sys.version_info.major}.{sys.version_info.minor}, or install hasten by --setup"
            raise ConfigurationError(f"environment of {revision.name}", "hasten does not run in it", remedy)

    def _serves(self, python: str) -> bool:
        command = [python, "-c", "import hasten.service"]
        try:
            run_step(command, self._scratch, {}, self._scratch / "program.log", _PROBE_SECONDS)
        except StepFailed:
            return False
        return True

    def _run(self, where: str, command: list[str], folder: Path) -> None:
        # A virtual environment that is active here would be taken for the worktree's by uv and poetry. What git does
        # not keep (.env, a database) can be copied from the working tree.
        variables = {"VIRTUAL_ENV": "", "HASTEN_WORKING_TREE": str(self._repository.root)}
        log = self._scratch / "setup.log"
        try:
            run_step(command, folder, variables, log, self._preparation.timeout)
        except StepFailed as failed:
            raise ConfigurationError(where, str(failed), "--setup replaces it") from failed


def _within(file: str, trees: Sequence[Path]) -> bool:
    return any(Path(file).resolve().is_relative_to(tree) for tree in trees)


def _modules(place: Path) -> list[str]:
    """Return the names of what can be imported from a folder."""
    if not place.is_dir():
        return []
    entries = [entry for entry in place.iterdir() if entry.suffix == ".py" or entry.is_dir()]
    return [entry.stem for entry in entries if entry.stem.isidentifier()]


def _python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

"""Two revisions of a repository beside each other: each in a git worktree of its own, in a temporary folder.

`main..fix` names them; an empty one is the working tree, as it is. Nothing is written to the working tree or to its
index, and the worktrees are removed in every case. What a revision is run by is _environments' to say.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from hasten._core.errors import ConfigurationError

_SECONDS = 120.0  # for git alone; a large checkout takes some
_SHOWN = 12  # of a commit's name
# Set within hooks, where they name the repository that the hook is about: with a folder given they would mislead.
_OF_HOOKS = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with a working tree.

    Attributes:
      root: Of its working tree.
      inside: Path from there to the folder that commands are run in; `.` for the root itself.
    """

    root: Path
    inside: Path


@dataclass(frozen=True, slots=True)
class Revision:
    """A version of the code.

    Attributes:
      name: As it was given: `main`; `working tree` for none.
      commit: Its full name; empty for the working tree.
    """

    name: str
    commit: str

    @property
    def title(self) -> str:
        """Return `main (1a2b3c4d5e6f)`."""
        return f"{self.name} ({self.commit[:_SHOWN]})" if self.commit else self.name


def find_repository(directory: Path) -> Repository:
    """Return the repository that a folder belongs to.

    Raises:
      ConfigurationError: it belongs to none, or there is no git.
    """
    try:
        root = Path(_git(directory, "rev-parse", "--show-toplevel"))
    except _GitFailed as failed:
        problem = f"{directory} is in no repository with a working tree: {failed}"
        raise ConfigurationError("--git", problem, "run it in the repository") from failed
    return Repository(root, directory.resolve().relative_to(root.resolve()))


def find_revisions(repository: Repository, given: str) -> tuple[Revision, Revision]:
    """Return the two revisions that `main..fix` names.

    Raises:
      ConfigurationError: it is of another form, or a revision does not exist.
    """
    before, dots, after = given.partition("..")
    if not dots or after.startswith("."):
        remedy = "write two revisions like main..fix, an empty one for the working tree"
        raise ConfigurationError(f"--git {given!r}", "not of the form BEFORE..AFTER", remedy)
    return _revision(repository, before), _revision(repository, after)


@contextmanager
def worktree(repository: Repository, revision: Revision, folder: Path) -> Iterator[Path]:
    """Have the files of a revision in a folder within the block; yields its root.

    The working tree's own root is yielded for the working tree. The repository's hooks do not run.

    Args:
      folder: Where it is made; must not exist.
    Raises:
      ConfigurationError: git cannot do it.
    Cancellation: the worktree is removed on every path; interrupts wait until that is done.
    """
    if not revision.commit:
        yield repository.root
        return
    try:
        with _as_error(f"--git {revision.name}"):
            _git(repository.root, "worktree", "add", "--detach", "--quiet", str(folder), revision.commit)
        yield folder.resolve()
    finally:
        with _undisturbed():
            _remove(repository, folder)


def _revision(repository: Repository, name: str) -> Revision:
    if not name:
        return Revision("working tree", "")
    try:
        found = _git(repository.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except _GitFailed as failed:
        remedy = "see git branch --all and git tag"
        raise ConfigurationError(f"--git {name}", f"no such revision in {repository.root}", remedy) from failed
    return Revision(name, found)


def _remove(repository: Repository, folder: Path) -> None:
    """Remove a worktree and what git knows of it, also one that is half made; other worktrees are left alone."""
    for _ in range(2):  # with its files gone, git removes what it knows of the worktree alone
        with suppress(_GitFailed):
            _git(repository.root, "worktree", "remove", "--force", "--force", str(folder))
            break
        rmtree(folder, ignore_errors=True)
    rmtree(folder, ignore_errors=True)


class _GitFailed(Exception):
    """Raised when git ends with an error: what it said."""


@contextmanager
def _as_error(where: str) -> Iterator[None]:
    try:
        yield
    except _GitFailed as failed:
        raise ConfigurationError(where, f"git says: {failed}") from failed


def _git(folder: Path, *arguments: str) -> str:
    """Return what git writes; hooks are off, and nobody is asked for a password.

    Raises:
      _GitFailed: it ended with an error, or not in time.
      ConfigurationError: it is not installed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            env={**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            start_new_session=True,  # Ctrl-C reaches the command alone, which cleans up by git
            check=False,
        )
    except FileNotFoundError as error:
        raise ConfigurationError("--git", "git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise _GitFailed(f"nothing within {_SECONDS:g} s") from error
    if done.returncode:
        rows = [row.strip() for row in done.stderr.splitlines() if row.strip()]
        raise _GitFailed((rows or [f"exit code {done.returncode}"])[-1].removeprefix("fatal: "))
    return done.stdout.strip()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let interrupts and stop signals wait until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

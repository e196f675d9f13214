"""What would be written into a project: each file with what is there now."""

import difflib
from pathlib import Path
from typing import Literal

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.init._templates import is_unchanged

Group = Literal["pyproject", "slo", "app", "docker", "compose", "kubernetes", "github", "example"]
State = Literal["new", "changed", "same", "kept"]
GROUPS: tuple[Group, ...] = ("pyproject", "slo", "app", "docker", "compose", "kubernetes", "github")


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
      path: From the project's folder, with `/`.
      before: What is there; None for nothing.
      after: What would be there.
      state: `kept`: something else is there that is not ours, and stays.
    """

    path: str
    group: Group
    before: bytes | None
    after: bytes
    state: State

    @property
    def is_written(self) -> bool:
        """Whether there is anything to write."""
        return self.state in {"new", "changed"}

    def diff(self) -> list[str]:
        """Return the unified diff, its lines without ends; none for what stays."""
        if not self.is_written:
            return []
        before, after = ((data or b"").decode(errors="replace").splitlines() for data in (self.before, self.after))
        names = ("/dev/null" if self.before is None else f"a/{self.path}", f"b/{self.path}")
        return list(difflib.unified_diff(before, after, *names, lineterm=""))


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """All that would be written.

    Attributes:
      app: `module:attribute` that it is about; empty for an example.
      notes: What is left to do by hand, each a sentence.
    """

    root: Path
    app: str
    changes: tuple[FileChange, ...]
    notes: tuple[str, ...] = ()

    @property
    def written(self) -> tuple[FileChange, ...]:
        """What there is to write."""
        return tuple(change for change in self.changes if change.is_written)


def edited(path: str, group: Group, before: bytes | None, after: bytes) -> FileChange:
    """Return the change of a file that is added to, whoever has written it."""
    state: State = "new" if before is None else "same" if before == after else "changed"
    return FileChange(path=path, group=group, before=before, after=after, state=state)


def made(root: Path, path: str, group: Group, text: str, *, force: bool, generated: str = "") -> FileChange:
    """Return the change of a file that is written as a whole: one of somebody else's stays, unless it is forced.

    Args:
      generated: First line of files that are generated anew whenever they are different.
    Raises:
      ConfigurationError: it cannot be read.
    """
    before, after = read(root, path), text.encode()
    change = edited(path, group, before, after)
    if change.state != "changed" or force or before is None:
        return change
    there = before.decode(errors="replace")
    if is_unchanged(there) or (generated and there.startswith(generated)):
        return change
    return msgspec.structs.replace(change, state="kept")


def read(root: Path, path: str) -> bytes | None:
    """Return what is in a file; None if it is not there.

    Raises:
      ConfigurationError: it cannot be read.
    """
    try:
        return (root / path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(str(root / path), f"cannot be read: {error.strerror or error}") from error

"""Writing is all or nothing: what is in the way leaves everything as it was."""

import os
from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.init import FileChange, write
from hasten.init._proposal import edited, made
from hasten.init._templates import is_unchanged, marked


def change(root: Path, path: str, text: str) -> FileChange:
    """Return the change of a file to a text."""
    file = root / path
    return edited(path, "slo", file.read_bytes() if file.exists() else None, text.encode())


def content(root: Path) -> dict[str, str]:
    """Return all files and folders below one, with what is in the files."""
    return {str(file.relative_to(root)): file.read_text() if file.is_file() else "" for file in root.rglob("*")}


def test_files_and_folders_are_made_and_changed(tmp_path: Path) -> None:
    """New files have their folders made; a changed one keeps its permissions, and a link stays a link."""
    script, link = tmp_path / "script", tmp_path / "link"
    script.write_text("old")
    script.chmod(0o750)
    link.symlink_to(script)
    write(tmp_path, [change(tmp_path, "link", "new"), change(tmp_path, "a/b/c", "made")])
    assert link.is_symlink()
    assert script.read_text() == "new"
    assert script.stat().st_mode & 0o777 == 0o750
    assert content(tmp_path) == {"script": "new", "link": "new", "a": "", "a/b": "", "a/b/c": "made"}


def test_what_is_as_it_is_is_not_touched(tmp_path: Path) -> None:
    """A file that would not be different, or stays, is not written at all."""
    (tmp_path / "a").write_text("same")
    before = (tmp_path / "a").stat()
    write(tmp_path, [change(tmp_path, "a", "same")])
    after = (tmp_path / "a").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_cannot_be_staged_undoes_all(tmp_path: Path) -> None:
    """Where a folder's name is taken by a file, no file is written, and no folder is left."""
    (tmp_path / "old").write_text("old")
    (tmp_path / "taken").write_text("a file")
    before = content(tmp_path)
    wanted = [change(tmp_path, "old", "new"), change(tmp_path, "made/file", "x")]
    wanted.append(FileChange(path="taken/file", group="slo", before=None, after=b"x", state="new"))
    with pytest.raises(ConfigurationError, match=r"taken.* cannot be written: .*; nothing has been changed"):
        write(tmp_path, wanted)
    assert content(tmp_path) == before


def test_a_move_that_fails_undoes_those_before(tmp_path: Path) -> None:
    """Where the last file cannot be moved to its place, those that were are as before, and new ones are gone."""
    (tmp_path / "old").write_text("old")
    wanted = [change(tmp_path, "old", "new"), change(tmp_path, "made/file", "x"), change(tmp_path, "last", "x")]
    before = content(tmp_path)
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "last":
            raise OSError(28, os.strerror(28), str(target))
        return original(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(ConfigurationError, match="last: cannot be written: No space left on device"):
            write(tmp_path, wanted)
    assert content(tmp_path) == before


def test_an_interruption_undoes_all(tmp_path: Path) -> None:
    """Ctrl-C between two files leaves neither."""
    (tmp_path / "old").write_text("old")
    before = content(tmp_path)
    wanted = [change(tmp_path, "old", "new"), change(tmp_path, "made/file", "x")]
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.name == "file":
            raise KeyboardInterrupt
        return original(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, wanted)
    assert content(tmp_path) == before


def test_a_file_that_somebody_changes_meanwhile_is_theirs(tmp_path: Path) -> None:
    """What is another file by now than the one that was shown is not written over."""
    file = tmp_path / "file"
    file.write_text("shown")
    wanted = [change(tmp_path, "new", "x"), change(tmp_path, "file", "ours")]
    file.write_text("theirs")
    with pytest.raises(ConfigurationError, match="has been changed meanwhile; run hasten init again"):
        write(tmp_path, wanted)
    assert content(tmp_path) == {"file": "theirs"}


@pytest.mark.parametrize(
    ("there", "force", "state"),
    [
        (None, False, "new"),
        (marked("b"), False, "same"),
        (marked("a"), False, "changed"),
        (marked("a") + "mine", False, "kept"),
        ("mine", False, "kept"),
        ("mine", True, "changed"),
    ],
)
def test_a_file_of_somebody_else_stays(tmp_path: Path, there: str | None, *, force: bool, state: str) -> None:
    """A file is written over if it is as it was written, or if that is forced; what was changed by hand is kept."""
    if there is not None:
        (tmp_path / "file").write_text(there)
    change = made(tmp_path, "file", "slo", marked("b"), force=force)
    assert (change.state, bool(change.diff())) == (state, state in {"new", "changed"})
    assert is_unchanged(marked("b"))

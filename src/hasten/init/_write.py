"""Writes files all together: each whole or not at all, and none if one cannot be written."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hasten._core.errors import ConfigurationError
from hasten.init._proposal import FileChange, read

_MODE = 0o644


def write(root: Path, changes: Iterable[FileChange]) -> None:
    """Write the changes below a folder.

    All are written beside their places first, then moved there; what was there comes back if a move fails.

    Raises:
      ConfigurationError: one cannot be written, or is not any more as it was read; nothing has changed then.
    """
    wanted = [change for change in changes if change.is_written]
    staged: list[tuple[FileChange, Path, Path]] = []
    folders: list[Path] = []
    moved: list[tuple[FileChange, Path]] = []
    try:
        for change in wanted:
            place = (root / change.path).resolve()  # of a link, what it leads to
            _make_folders(place.parent, folders)
            half = place.with_name(f".{place.name}.{os.getpid()}")
            staged.append((change, place, half))
            _stage(half, change.after, place.stat().st_mode & 0o777 if change.before is not None else _MODE)
        for change, place, half in staged:
            if read(root, change.path) != change.before:
                raise ConfigurationError(str(place), "has been changed meanwhile", "run hasten init again")
            moved.append((change, place))
            half.replace(place)
    except BaseException as error:
        _undo(moved, staged, folders)
        if isinstance(error, OSError):
            where = error.filename or root
            problem = f"cannot be written: {error.strerror or error}"
            raise ConfigurationError(str(where), problem, "nothing has been changed") from error
        raise


def _make_folders(folder: Path, made: list[Path]) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir()
        made.append(each)


def _stage(half: Path, data: bytes, mode: int) -> None:
    with half.open("xb") as file:
        half.chmod(mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _undo(
    moved: Iterable[tuple[FileChange, Path]], staged: Iterable[tuple[FileChange, Path, Path]], folders: list[Path]
) -> None:
    """Have everything be as it was, as far as that can be."""
    waiting = {half for _, _, half in staged if half.exists()}
    for change, place in moved:
        if place.with_name(f".{place.name}.{os.getpid()}") in waiting:
            continue  # it was not moved
        with suppress(OSError):
            if change.before is None:
                place.unlink()
            else:
                place.write_bytes(change.before)
    for half in waiting:
        with suppress(OSError):
            half.unlink()
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()

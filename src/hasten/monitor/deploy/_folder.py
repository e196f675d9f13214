"""The folder that generated files lie in: what is different there, and making it equal."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.monitor.deploy._yaml import HEAD


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What is different in a folder from what would be generated; paths below it, sorted.

    Attributes:
      missing: Files that are not there.
      changed: Files with another content.
      left_over: Files that were generated once, by their first line, and would not be any more.
    """

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.left_over)


def drift_of(folder: Path, files: Mapping[str, str]) -> Drift:
    """Return what is different in a folder, which need not exist.

    Raises:
      ConfigurationError: a file cannot be read.
    """
    missing, changed = [], []
    for path, text in files.items():
        found = _read(folder / path)
        if found is None:
            missing.append(path)
        elif found != text.encode():
            changed.append(path)
    return Drift(missing=_sorted(missing), changed=_sorted(changed), left_over=_left_over(folder, files))


def write(folder: Path, files: Mapping[str, str], drift: Drift) -> None:
    """Write what is missing or changed, and touch nothing else.

    Raises:
      ConfigurationError: something cannot be written.
    """
    for path in (*drift.missing, *drift.changed):
        place = folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[path].encode())
        except OSError as error:
            problem = f"cannot write {place}: {error.strerror or error}"
            raise ConfigurationError("--output", problem, "give a folder that you may write to") from error


def _sorted(paths: list[str]) -> tuple[str, ...]:
    return tuple(sorted(paths))


def _read(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError("--output", f"cannot read {place}: {error.strerror or error}") from error


def _left_over(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Return generated YAML that nothing generates any more, in the folders that files are generated into."""
    folders = {Path(path).parent for path in files}
    found = [one for each in folders for one in (folder / each).glob("*.y*ml")]
    paths = [one.relative_to(folder).as_posix() for one in found if one.is_file() and _is_generated(one)]
    return _sorted([path for path in paths if path not in files])


def _is_generated(place: Path) -> bool:
    content = _read(place)
    return content is not None and content.startswith(HEAD.encode())

"""What the files of a project say about what has to be installed for it."""

import hashlib
import json
import tomllib
from pathlib import Path

_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
_SAYS_NOTHING = frozenset(
    {"version", "description", "readme", "keywords", "classifiers", "urls", "authors", "maintainers", "license"}
)
_INSTALLERS = ("hatch", "setuptools", "flit", "poetry", "pdm", "uv", "maturin", "scikit-build")


def needs_of(root: Path, folder: Path) -> str:
    """Return a digest of what the files of a project say about what has to be installed for it.

    Args:
      root: Of the repository.
      folder: Of the project in it; may be the same.
    """
    digest = hashlib.sha256()
    for place in dict.fromkeys((root, folder)):
        for file in _naming_files(place):
            digest.update(repr((str(file.relative_to(root)), _said(file))).encode())
    return digest.hexdigest()


def _naming_files(place: Path) -> list[Path]:
    names = [*_PROJECT_FILES, *_LOCK_FILES]
    found = [place / name for name in names]
    found += sorted({*place.glob("requirements*.txt"), *place.glob("constraints*.txt")})
    return [file for file in found if file.is_file()]


def _said(file: Path) -> object:
    """Return what a file says: of pyproject.toml what an installer reads, of others every byte."""
    raw = file.read_bytes()
    if file.name != "pyproject.toml":
        return raw
    try:
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return raw
    project = {key: value for key, value in table.get("project", {}).items() if key not in _SAYS_NOTHING}
    tools = {name: value for name, value in table.get("tool", {}).items() if name in _INSTALLERS}
    parts = (project, table.get("build-system"), table.get("dependency-groups"), tools)
    return json.dumps(parts, sort_keys=True, default=str)


def installs(root: Path, folder: Path) -> list[str]:
    """Return what pip has to install: the project that is in the folder, else the one that is at the root."""
    for place in dict.fromkeys((folder, root)):
        wanted = ["-r", str(place / "requirements.txt")] if (place / "requirements.txt").is_file() else []
        if _installable(place):
            wanted += ["-e", str(place)]
        if wanted:
            return wanted
    return []


def _installable(place: Path) -> bool:
    if any((place / name).is_file() for name in ("setup.py", "setup.cfg")):
        return True
    try:
        table = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
    return "project" in table or "build-system" in table

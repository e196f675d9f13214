"""The files that are written, as they lie in `templates/`: `$name` stands for a value, `$$` for a dollar."""

import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

_SUFFIX = ".in"  # no tool takes them for what they become
_MARK = re.compile(r"# written by hasten init (\w{16}); a file that you have changed is yours, and stays\n")


def render(name: str, **values: object) -> str:
    """Return a template's text with these values in it.

    Raises:
      KeyError: the template has a name that no value is for.
    """
    text = (_templates() / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    return Template(text).substitute({name: str(value) for name, value in values.items()})


def plain_files(folder: str) -> dict[str, str]:
    """Return the texts of all files in a folder of templates, as they are, by their paths in it."""
    return dict(sorted(_plain(_templates() / folder, "")))


def marked(text: str) -> str:
    """Return a text behind a line that says where it is from, and tells whether it has been changed since."""
    return f"# written by hasten init {_digest(text)}; a file that you have changed is yours, and stays\n{text}"


def is_unchanged(text: str) -> bool:
    """Tell whether a text is as it was written: another one may take its place without asking for more."""
    found = _MARK.match(text)
    return found is not None and found[1] == _digest(text[found.end() :])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _templates() -> Traversable:
    return files("hasten.init") / "templates"


def _plain(folder: Traversable, path: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _plain(each, f"{path}{each.name}/")
        elif each.name.endswith(_SUFFIX):
            found.append((path + each.name.removesuffix(_SUFFIX), each.read_text(encoding="utf-8")))
    return found

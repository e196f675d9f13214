"""Adds hasten to pyproject.toml as text, so that comments and layout stay; what comes of it is read and compared."""

import re
import tomllib
from typing import Any

import msgspec

_HEADER = re.compile(r"^[ \t]*\[")
_ARRAY = re.compile(r"^[ \t]*dependencies[ \t]*=[ \t]*\[")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_STRING = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_INDENT = "    "


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What pyproject.toml is to say.

    Attributes:
      requirement: Of hasten, as `hasten>=0.1.0`.
      app: `module:attribute`, for [tool.hasten]; empty to leave it alone.
      plan: For [tool.hasten.gate]; empty to leave it alone.
    """

    requirement: str
    app: str = ""
    plan: str = ""


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """The text with as much added as is plainly safe.

    Attributes:
      left: What is not, each a sentence that says what to write where.
    """

    text: str
    left: tuple[str, ...] = ()


def edit(text: str, settings: Settings) -> Edited:
    """Return the file's text with what is missing.

    Args:
      text: Valid TOML; empty for a file that is to be made.
    """
    left: list[str] = []
    depended = _with_dependency(text, settings.requirement)
    if depended is None:
        left.append(f"pyproject.toml: add {settings.requirement!r} to the project's dependencies")
    text = text if depended is None else depended
    for add, value, words in (
        (_with_app, settings.app, f'app = "{settings.app}" to [tool.hasten]'),
        (_with_gate, settings.plan, f'plan = "{settings.plan}" to [tool.hasten.gate]'),
    ):
        added = add(text, value) if value else text
        if added is None:
            left.append(f"pyproject.toml: add {words}")
        text = text if added is None else added
    return Edited(text=text, left=tuple(left))


def depends_on(requirements: Any, name: str) -> bool:
    """Tell whether a list of requirements has one of a project."""
    found = [_NAME.match(str(one).strip()) for one in requirements or ()]
    return any(one is not None and re.sub(r"[-_.]+", "-", one[0]).lower() == name for one in found)


# ---- the dependency


def _with_dependency(text: str, requirement: str) -> str | None:
    """Return the text with the requirement among [project]'s dependencies; None where that is not plainly safe."""
    before = tomllib.loads(text)
    project = before.get("project")
    if project is None or "dependencies" in project.get("dynamic", ()):
        return None
    if depends_on(project.get("dependencies"), "hasten"):
        return text
    made = _inserted(text, requirement, has_list="dependencies" in project)
    project["dependencies"] = [*project.get("dependencies", ()), requirement]
    return made if made is not None and _reads_as(made, before) else None


def _inserted(text: str, requirement: str, *, has_list: bool) -> str | None:
    ending = "\r\n" if "\r\n" in text else "\n"
    offset = 0
    inside = False
    last = None  # the end of the last line of [project] that says something
    for line in text.splitlines(keepends=True):
        if _HEADER.match(line) and not inside:
            inside = line.split("#")[0].strip() == "[project]"
            last = offset + len(line) if inside else None
        elif inside and (found := _ARRAY.match(line)) and has_list:
            return _in_array(text, offset + found.end(), requirement, ending)
        elif inside and _HEADER.match(line):
            break
        elif inside and line.strip():
            last = offset + len(line)
        offset += len(line)
    if has_list or last is None:
        return None
    head = text[:last] if text[:last].endswith("\n") else text[:last] + ending
    return f'{head}dependencies = ["{requirement}"]{ending}{text[last:]}'


def _in_array(text: str, start: int, requirement: str, ending: str) -> str | None:
    """Return the text with one more entry at the end of the array that opens in front of `start`."""
    behind, comma, position = start, True, start  # behind the last entry and its comma; whether there is one
    while position < len(text) and text[position] != "]":
        if found := _STRING.match(text, position):
            if len(found[0]) == 3:  # a text of several lines is no requirement that anybody writes
                return None
            behind, comma, position = found.end(), False, found.end()
        elif text[position] == "#":
            position = text.find("\n", position) if "\n" in text[position:] else len(text)
        else:
            if text[position] == ",":
                behind, comma = position + 1, True
            position += 1
    if position >= len(text):
        return None
    entry = f'"{requirement}"'
    if "\n" not in text[behind:position]:
        separator = ("" if behind == start else " ") if comma else ", "
        return f"{text[:behind]}{separator}{entry}{text[behind:]}"
    whole = text.find("\n", behind) + 1  # the end of the line of the last entry, with its comment
    indented = re.search(r"\n([ \t]+)\S", text[start - 1 : position])
    indent = indented[1] if indented else _INDENT
    line = f"{indent}{entry},{ending}"
    return text[:behind] + ("" if comma else ",") + text[behind:whole] + line + text[whole:]


# ---- the tables


def _with_app(text: str, app: str) -> str | None:
    """Return the text with `app` in [tool.hasten], where it has none."""
    before = tomllib.loads(text)
    table = before.setdefault("tool", {}).setdefault("hasten", {})
    if table.get("app"):
        return text
    line = f'app = "{app}"'
    header = re.search(r"^\[tool\.hasten\][ \t]*(#.*?)?\r?$", text, re.MULTILINE)
    made = _behind(text, header.end(), line) if header else _appended(text, f"[tool.hasten]\n{line}\n")
    table["app"] = app
    return made if _reads_as(made, before) else None


def _with_gate(text: str, plan: str) -> str | None:
    """Return the text with a table of what the service keeps to, where there is none."""
    before = tomllib.loads(text)
    table = before.setdefault("tool", {}).setdefault("hasten", {})
    if "gate" in table:
        return text
    lines = f'[tool.hasten.gate]\nplan = "{plan}"\n\n[tool.hasten.gate.objectives."*"]\nerrors = "0.1%"\n'
    table["gate"] = {"plan": plan, "objectives": {"*": {"errors": "0.1%"}}}
    made = _appended(text, lines)
    return made if _reads_as(made, before) else None


def _behind(text: str, end: int, line: str) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    end -= text[:end].endswith("\r")
    return f"{text[:end]}{ending}{line}{text[end:]}"


def _appended(text: str, lines: str) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += ending
    return text + (ending if text else "") + lines.replace("\n", ending)


def _reads_as(text: str, expected: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == expected
    except tomllib.TOMLDecodeError:
        return False

"""What a project is like, as far as the files that are written depend on it."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.init._app import App, find_app

PYPROJECT: Final = "pyproject.toml"
REQUIREMENTS: Final = "requirements.txt"
_PYTHONS = (13, 14, 12, 11)  # the first that the project takes
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*3\.([0-9]+)")
_LONGEST_NAME = 50  # of a service: Kubernetes' names have 63, and some are longer than it
_NO_NAMES = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "prometheus", "redis"})
"""What YAML takes for something else than a text, and containers that stand beside the service."""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project.

    Attributes:
      root: Its folder, absolute.
      service: Its name for Prometheus, Compose and Kubernetes: a DNS label.
      needs: Where it says what it needs.
      python: Version of Python for images and workflows, `3.13`.
      locked: Whether it has uv.lock.
      tests: Whether it has a folder of tests.
    """

    root: Path
    app: App
    service: str
    needs: Literal["pyproject.toml", "requirements.txt", ""]
    python: str = "3.13"
    locked: bool = False
    tests: bool = False


def read_project(root: Path, wanted: str = "", service: str = "") -> Project:
    """Return what a folder is like.

    Args:
      wanted: `module:attribute` of its app; empty for what pyproject.toml names, or the only one.
      service: Name of the service; empty for the project's, or the folder's.
    Raises:
      ConfigurationError: the folder is none, pyproject.toml is no TOML, there is no app or more than one, or
        `service` is no name.
    """
    root = root.absolute()
    if not root.is_dir():
        raise ConfigurationError(str(root), "no such folder", "give the project's")
    document = read_toml(root / PYPROJECT)
    table = document.get("project")
    named = _configured_app(document)
    if service and _dns_label(service) != service:
        raise ConfigurationError(
            f"--service {service}", "is no name of a service", f"write one like {_dns_label(service)}"
        )
    return Project(
        root=root,
        app=find_app(root, wanted or named, "--app" if wanted else "app in pyproject.toml:"),
        service=service or _dns_label(str((table or {}).get("name", "")) or root.resolve().name),
        needs=PYPROJECT if table is not None else REQUIREMENTS if (root / REQUIREMENTS).is_file() else "",
        python=f"3.{_python(str((table or {}).get('requires-python', '')))}",
        locked=(root / "uv.lock").is_file(),
        tests=(root / "tests").is_dir(),
    )


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a file of TOML says; nothing if it is not there.

    Raises:
      ConfigurationError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(str(file), f"cannot be read: {error}", "mend it first") from error


def _configured_app(document: dict[str, Any]) -> str:
    """Return the app that pyproject.toml names for hasten, or for FastAPI."""
    tools = document.get("tool", {})
    return str(tools.get("hasten", {}).get("app") or tools.get("fastapi", {}).get("entrypoint") or "")


def _dns_label(text: str) -> str:
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    if not label or not label[0].isalpha():
        label = f"app-{label}".rstrip("-")
    return f"{label}-app" if label in _NO_NAMES else label


def _python(requires: str) -> int:
    """Return the minor version to use: the first of ours that `requires-python` takes, else the least that it names."""
    clauses = [(operator, int(minor)) for operator, minor in _CLAUSE.findall(requires)]
    for minor in _PYTHONS:
        if all(_takes(minor, operator, bound) for operator, bound in clauses):
            return minor
    return max((bound for operator, bound in clauses if operator in {">=", "==", "~="}), default=_PYTHONS[0])


def _takes(minor: int, operator: str, bound: int) -> bool:
    match operator:
        case ">=" | "~=" | ">":
            return minor >= bound
        case "<":
            return minor < bound
        case "<=":
            return minor <= bound
        case "==":
            return minor == bound
    return minor != bound

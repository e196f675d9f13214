"""The public API: what each package exports, and what importing it does not do."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_origin

import pytest

import hasten

OPTIONAL = ("aiohttp", "fastapi", "grpc", "httpx", "pydantic", "redis", "requests", "starlette")
# Without docstrings of their own: plain values, and type aliases.
VALUES = (bool, bytes, float, int, str, tuple, frozenset)


def packages() -> list[str]:
    """Return the names of hasten and its public packages."""
    root = Path(hasten.__file__).parent
    folders = [file.parent.relative_to(root.parent) for file in root.rglob("__init__.py")]
    names = [".".join(folder.parts) for folder in folders]
    return sorted(name for name in names if "._" not in name)


@pytest.fixture(params=packages())
def package(request: pytest.FixtureRequest) -> ModuleType:
    """Each package in turn."""
    return importlib.import_module(request.param)


def test_exports_are_a_sorted_tuple(package: ModuleType) -> None:
    """Every package says in a sorted `__all__` tuple, without repetition, what it exports."""
    exported = package.__all__
    assert isinstance(exported, tuple)
    assert list(exported) == sorted(set(exported), key=kind_and_name)


def kind_and_name(name: str) -> tuple[int, str]:
    """Constants come first, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_every_export_exists_and_is_explained(package: ModuleType) -> None:
    """Every exported name exists and has a docstring of its own; so has the package."""
    assert package.__doc__
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, VALUES) or get_origin(value) is not None:
            continue
        documentation = inspect.getdoc(value) or ""
        if inspect.isclass(value):  # an inherited docstring, or a generated one, explains nothing
            documentation = value.__dict__.get("__doc__") or ""
        assert documentation, f"{package.__name__}.{name}"
        assert not documentation.startswith(f"{name}("), f"{package.__name__}.{name}"


def test_every_public_import_is_exported(package: ModuleType) -> None:
    """What a package takes from its own private modules without an underscore is exported."""
    if package.__name__ == "hasten.cli":  # the command itself: what its verbs print with is nobody's API
        return
    for name, value in vars(package).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if str(getattr(value, "__module__", "")).startswith(f"{package.__name__}._"):
            assert name in package.__all__, name


def in_fresh_interpreter(program: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    return done.stdout.strip()


def test_import_loads_no_optional_package() -> None:
    """`import hasten` loads neither a driver nor the user's framework."""
    program = f"import sys, hasten; print([name for name in {OPTIONAL!r} if name in sys.modules])"
    assert in_fresh_interpreter(program) == "[]"


def test_import_starts_nothing() -> None:
    """Importing every package starts no thread, opens no file or socket and changes no hook."""
    program = f"""
import gc, importlib, os, sys, threading
import asyncio, typer, rich.console, uvicorn  # what these do at import is theirs
def state():
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook, len(gc.callbacks), sys.gettrace())
    return threading.active_count(), len(os.listdir("/proc/self/fd")), hooks, gc.get_threshold()
before = state()
for name in {packages()!r}:
    importlib.import_module(name)
print(state() == before, threading.active_count())
"""
    assert in_fresh_interpreter(program) == "True 1"


def test_import_reads_no_environment() -> None:
    """Importing every package asks for no HASTEN_* variable."""
    program = f"""
import importlib, os
asked = []
class Watched(dict):
    def __getitem__(self, name): asked.append(name); return super().__getitem__(name)
    def get(self, name, default=None): asked.append(name); return super().get(name, default)
    def __contains__(self, name): asked.append(name); return super().__contains__(name)
os.environ = Watched(os.environ)
os.getenv = os.environ.get
for name in {packages()!r}:
    importlib.import_module(name)
print([name for name in asked if str(name).startswith("HASTEN_")])
"""
    assert in_fresh_interpreter(program) == "[]"

"""Which ASGI app a command is about: `module:app`, the project's configuration, or the usual file names."""

import functools
import importlib
import inspect
import sys
import sysconfig
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hasten._core.errors import ConfigurationError

AsgiApp = Callable[..., Any]
_ARGUMENTS = ("scope", "receive", "send")
_CONFIGURED = (("hasten", "app"), ("fastapi", "entrypoint"))
_USUAL = (("main.py", "main:app"), ("app.py", "app:app"), ("app/main.py", "app.main:app"))


def find_target(target: str | None, directory: Path) -> str:
    """Return `target`, or the project's own: what pyproject.toml names, else main.py, app.py or app/main.py.

    Raises:
      ConfigurationError: none is given and none is found, or pyproject.toml is no TOML.
    """
    if target:
        return target
    if configured := _configured(directory / "pyproject.toml"):
        return configured
    for file, usual in _USUAL:
        if (directory / file).exists():
            return usual
    raise ConfigurationError("target", "no app given and none found here", "name one like main:app")


def _configured(pyproject: Path) -> str:
    """Return `app` of [tool.hasten], else `entrypoint` of [tool.fastapi]; empty without either."""
    if not pyproject.exists():
        return ""
    try:
        tools = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(pyproject), f"not valid TOML: {error}") from error
    for tool, key in _CONFIGURED:
        if found := tools.get(tool, {}).get(key):
            return str(found)
    return ""


def import_app(target: str) -> AsgiApp:
    """Import the ASGI app that `module:attribute` names; attributes may be dotted.

    Raises:
      ConfigurationError: the form is wrong, the module does not import (with the line that failed), the
        attribute is missing or no ASGI app.
    """
    found = import_object(target)
    if not is_asgi_app(found):
        attribute = target.partition(":")[2]
        raise _wrong(target, f"{attribute!r} is {_described(found)}, no ASGI app", _remedy(found))
    app: AsgiApp = found
    return app


def import_object(target: str) -> Any:
    """Import what `module:attribute` names, whatever it is; attributes may be dotted.

    Raises:
      ConfigurationError: the form is wrong, the module does not import (with the line that failed), or the attribute
        is missing.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise _wrong(target, "not of the form module:app", "for example main:app")
    if module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").removeprefix("./").replace("/", ".")
        raise _wrong(target, "names a file, not a module", f"write {dotted}:{attribute}")
    found = _imported(module_name, target)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _wrong(target, f"module {module_name!r} has no attribute {attribute!r}")
        found = getattr(found, name)
    return found


def is_asgi_app(value: Any) -> bool:
    """Tell whether `value` is made to be called as `await value(scope, receive, send)`.

    True for what is async and takes three arguments, and for any other callable whose arguments have ASGI's
    names: a wrapper may be a plain function that returns the wrapped app's coroutine.
    """
    if not callable(value) or inspect.isclass(value):
        return False
    try:
        signature = inspect.signature(value)
        signature.bind({}, None, None)
    except (TypeError, ValueError):
        return False
    call = value.func if isinstance(value, functools.partial) else value
    if not inspect.isroutine(call):
        call = type(call).__call__
    return inspect.iscoroutinefunction(call) or tuple(signature.parameters)[:3] == _ARGUMENTS


def _wrong(target: str, problem: str, remedy: str = "") -> ConfigurationError:
    return ConfigurationError(f"target {target!r}", problem, remedy)


def _imported(module_name: str, target: str) -> Any:
    if "" not in sys.path:  # an installed command has its own folder there instead of the current one
        sys.path.insert(0, "")
    try:
        return importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            remedy = "run hasten in the folder that holds it"
            raise _wrong(target, f"no module named {error.name!r}", remedy) from error
        raise _wrong(target, _import_failure(error)) from error
    except BaseException as error:  # among them SystemExit, of a script without a main guard
        raise _wrong(target, _import_failure(error)) from error


def _import_failure(error: BaseException) -> str:
    """Return `does not import: KeyError: 'DSN' (/app/main.py:12)` with the user's own line that failed."""
    message = str(error).splitlines()[0] if str(error) else ""
    place = _place(error)
    if isinstance(error, SyntaxError) and error.filename:
        message, place = error.msg, f"{error.filename}:{error.lineno}"
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"does not import: {said} ({place})"


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame outside installed packages, or of the innermost of all."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    frames = [f"{frame.f_code.co_filename}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    frames = [frame for frame in frames if not frame.startswith(("<", f"{__file__}:"))]
    own = [frame for frame in frames if not frame.startswith(libraries)]
    return (own or frames or ["no line known"])[-1]


def _described(value: Any) -> str:
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _remedy(value: Any) -> str:
    """Return what to write instead where a class or a factory stands in the place of the app it makes."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"is it a factory? then name what it returns: app = {value.__name__}()"
    return ""

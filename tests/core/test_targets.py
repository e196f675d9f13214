"""Which app is meant, and what is said when it cannot be had."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware

from hasten._core.errors import ConfigurationError
from hasten._core.targets import find_target, import_app, is_asgi_app

ASYNC_APP = "async def app(scope, receive, send): ...\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to run hasten in; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    """Write `name="text"` as name.py; `a__b` is the file a/b.py."""
    for name, text in files.items():
        file = folder / (name.replace("__", "/") + ".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


def problem(target: str) -> str:
    """Return the one line that importing `target` ends in."""
    with pytest.raises(ConfigurationError) as caught:
        import_app(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- which app


def test_given_target_wins(project: Path) -> None:
    """A target on the command line is taken as it is."""
    (project / "pyproject.toml").write_text('[tool.hasten]\napp = "configured:app"\n')
    assert find_target("given:app", project) == "given:app"


@pytest.mark.parametrize(
    ("pyproject", "target"),
    [
        ('[tool.hasten]\napp = "a:app"\n[tool.fastapi]\nentrypoint = "b:app"\n', "a:app"),
        ('[tool.fastapi]\nentrypoint = "b:app"\n', "b:app"),
        ('[project]\nname = "x"\n', "main:app"),
        ("[tool.hasten]\n", "main:app"),
    ],
)
def test_configured_target(project: Path, pyproject: str, target: str) -> None:
    """[tool.hasten] app comes before [tool.fastapi] entrypoint, and both before the usual files."""
    write(project, main="")
    (project / "pyproject.toml").write_text(pyproject)
    assert find_target(None, project) == target


@pytest.mark.parametrize(
    ("files", "target"),
    [
        (("main", "app"), "main:app"),
        (("app", "app__main"), "app:app"),
        (("app__main",), "app.main:app"),
    ],
)
def test_usual_files(project: Path, files: tuple[str, ...], target: str) -> None:
    """main.py, app.py and app/main.py are tried in this order."""
    write(project, **dict.fromkeys(files, ""))
    assert find_target(None, project) == target


def test_nothing_found(project: Path) -> None:
    """A folder without an app says so and how to name one."""
    with pytest.raises(ConfigurationError, match=r"no app given and none found here; name one like main:app"):
        find_target(None, project)


@pytest.mark.parametrize("content", [b"[tool.hasten\n", b"\xff\xfe"])
def test_broken_pyproject(project: Path, content: bytes) -> None:
    """A pyproject.toml that does not parse is named with the parser's reason."""
    (project / "pyproject.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml: not valid TOML: "):
        find_target(None, project)


# ---- importing it


def test_import_from_the_current_folder(project: Path) -> None:
    """The app comes from the current folder, as with `python -m`, and dotted attributes are followed."""
    write(project, shop=ASYNC_APP + "class box: app = staticmethod(app)\n", pack__main=ASYNC_APP)
    assert import_app("shop:app") is import_app("shop:box.app")
    assert callable(import_app("pack.main:app"))


@pytest.mark.parametrize("target", ["main", "main:", ":app", "", "http://127.0.0.1:8000"])
def test_wrong_form(project: Path, target: str) -> None:
    """A target of another form is refused, whatever it is."""
    assert problem(target).startswith(f"target {target!r}: ")


def test_file_instead_of_module(project: Path) -> None:
    """A path in the place of the module is answered with the module to write."""
    assert problem("src/main.py:app") == ("target 'src/main.py:app': names a file, not a module; write src.main:app")


@pytest.mark.parametrize(("target", "missing"), [("shop:app", "shop"), ("pack.main:app", "pack.main")])
def test_missing_module(project: Path, target: str, missing: str) -> None:
    """A module that is not there is named, with the part of the path that is missing."""
    (project / "pack").mkdir()
    (project / "pack" / "__init__.py").touch()
    assert problem(target) == (
        f"target {target!r}: no module named {missing!r}; run hasten in the folder that holds it"
    )


def test_missing_dependency_inside_the_module(project: Path) -> None:
    """A missing import inside the app is told apart from a missing app, with its line."""
    write(project, shop="import os\nimport no_such_driver\n")
    assert problem("shop:app") == (
        "target 'shop:app': does not import: ModuleNotFoundError: No module named 'no_such_driver' "
        f"({project}/shop.py:2)"
    )


def test_syntax_error(project: Path) -> None:
    """A syntax error is named with its file and line, also in a module that the app imports."""
    write(project, shop="import prices\n", prices="x = 1\ndef f(:\n    pass\n")
    assert problem("shop:app").startswith("target 'shop:app': does not import: SyntaxError: ")
    assert problem("shop:app").endswith(f"({project}/prices.py:2)")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("{}['DSN']", "KeyError: 'DSN'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("raise ValueError", "ValueError"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("import json; json.loads('{')", "JSONDecodeError: Expecting property name"),
    ],
)
def test_exception_at_import(project: Path, statement: str, said: str) -> None:
    """What the module raises is one line with the user's own line, not the library's below it."""
    write(project, shop=f"\n{statement}\n")
    message = problem("shop:app")
    assert message.startswith(f"target 'shop:app': does not import: {said}")
    assert message.endswith(f"({project}/shop.py:2)")


def test_missing_attribute(project: Path) -> None:
    """An attribute that the module does not have is named."""
    write(project, shop=ASYNC_APP)
    assert problem("shop:api") == "target 'shop:api': module 'shop' has no attribute 'api'"
    assert problem("shop:app.api") == "target 'shop:app.api': module 'shop' has no attribute 'app.api'"


@pytest.mark.parametrize(
    ("definition", "described"),
    [
        ("app = 'text'", "'app' is a str, no ASGI app"),
        ("app = None", "'app' is a NoneType, no ASGI app"),
        ("import json as app", "'app' is a module, no ASGI app"),
        ("class app: ...", "'app' is the class app, no ASGI app; is it a factory?"),
        ("def app(): ...", "'app' is a function, no ASGI app; is it a factory?"),
    ],
)
def test_attribute_that_is_no_app(project: Path, definition: str, described: str) -> None:
    """What the attribute holds instead of an app is said."""
    write(project, shop=definition + "\n")
    assert described in problem("shop:app")


def test_interruption_is_no_import_failure(project: Path) -> None:
    """Ctrl-C during a slow import interrupts."""
    write(project, shop="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        import_app("shop:app")


# ---- what an ASGI app is


async def plain(scope: Any, receive: Any, send: Any) -> None: ...


async def other_names(environment: Any, reader: Any, writer: Any, *, extra: int = 0) -> None: ...


def returns_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return plain(scope, receive, send)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    return wrapper


async def configured(settings: Any, scope: Any, receive: Any, send: Any) -> None: ...


class AsyncCallable:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class PlainWrapper:
    """Like the ledger's wrapper: a plain `__call__` that hands on the app's coroutine."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return self.app(scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


class Wsgi:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class Asgi2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def three_numbers(a: int, b: int, c: int) -> int:
    return a + b + c


APPS = {
    "FastAPI": FastAPI(),
    "Starlette": Starlette(),
    "Starlette middleware": GZipMiddleware(Starlette()),
    "async function": plain,
    "async function with other names": other_names,
    "function returning a coroutine": returns_coroutine,
    "decorated function": decorated(plain),
    "partial": functools.partial(configured, {}),
    "object with async __call__": AsyncCallable(),
    "bound async method": AsyncCallable().method,
    "wrapper with a plain __call__": PlainWrapper(plain),
    "wrapper around FastAPI": PlainWrapper(FastAPI()),
}
NO_APPS = {
    "class of apps": AsyncCallable,
    "FastAPI itself": FastAPI,
    "ASGI 2 class": Asgi2,
    "text": "main:app",
    "module": sys,
    "None": None,
    "WSGI function": wsgi,
    "WSGI object": Wsgi(),
    "function of three others": three_numbers,
    "function without arguments": lambda: plain,
    "async function of two": AsyncCallable().__class__.__init__,
    "builtin": print,
    "builtin without signature": iter,
}


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_accepted(app: Any) -> None:
    """Everything that can be served as ASGI 3 is accepted."""
    assert is_asgi_app(app)


@pytest.mark.parametrize("value", NO_APPS.values(), ids=NO_APPS)
def test_refused(value: Any) -> None:
    """What would fail at the first request is refused before it is served."""
    assert not is_asgi_app(value)

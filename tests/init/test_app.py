"""The app is found in the source, wherever it is made; what is unclear is asked for."""

from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.init._app import App, find_app

FACTORY = "from fastapi import FastAPI\ndef make() -> FastAPI:\n    return FastAPI()\n"
MAKE = "from fastapi import FastAPI\napp = FastAPI()\n"


def project(root: Path, **modules: str) -> Path:
    """Write modules, `a__b` for a/b.py, and return the folder."""
    for name, text in modules.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("main", MAKE, "main:app"),
        ("shop__api__main", MAKE, "shop.api.main:app"),
        ("src__shop__main", MAKE, "shop.main:app"),
        ("main", "import fastapi as f\nweb: f.FastAPI = f.FastAPI()\n", "main:web"),
        ("main", f"{FACTORY}api = make()\n", "main:api"),
    ],
)
def test_it_is_found_where_it_is_made(tmp_path: Path, module: str, source: str, target: str) -> None:
    """By whatever names FastAPI is imported, and also through a function that makes the app."""
    found = find_app(project(tmp_path, **{module: source}), "")
    assert (found.target, found.installed) == (target, "")


def test_a_package_is_named_without_its_file(tmp_path: Path) -> None:
    """An app in a package's own module is the package's."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(MAKE)
    assert find_app(tmp_path, "") == App(target="shop:app", file="shop/__init__.py")


def test_apps_of_tests_do_not_count(tmp_path: Path) -> None:
    """What lies in tests, or in a virtual environment, is no app of the project."""
    project(tmp_path, main=MAKE, tests__conftest=MAKE, **{".venv__lib__x": MAKE})
    assert find_app(tmp_path, "").target == "main:app"


@pytest.mark.parametrize(
    ("modules", "wanted", "message"),
    [
        ({"main": "x = 1\n"}, "", "no module here makes a FastAPI app; name yours: --app module:app"),
        ({"a": MAKE, "b": MAKE}, "", "several FastAPI apps: a:app, b:app; name one: --app a:app"),
        ({"main": MAKE}, "main.py", "--app main.py: not of the form module:app; for example main:app"),
    ],
)
def test_what_is_unclear_is_one_line(tmp_path: Path, modules: dict[str, str], wanted: str, message: str) -> None:
    """None, several, and a wrong form say what to write."""
    with pytest.raises(ConfigurationError) as caught:
        find_app(project(tmp_path, **modules), wanted)
    assert str(caught.value).endswith(message)


def test_one_of_several_is_taken_by_its_name(tmp_path: Path) -> None:
    """--app chooses; one that no module makes at its top has no file."""
    project(tmp_path, a=MAKE, b=MAKE)
    assert find_app(tmp_path, "b:app").file == "b.py"
    assert find_app(tmp_path, "c:app").file == ""


@pytest.mark.parametrize(
    ("call", "line", "reached"),
    [
        ("import hasten\nhasten.install(app)", 2, False),
        ("import hasten\nhasten.install(app, admin=where)", 2, True),
        ("import hasten\nhasten.install(app, **settings)", 2, True),
        ("from hasten import install\ndef f(app):\n    return install(app)", 3, False),
    ],
)
def test_what_is_installed_already_is_seen(tmp_path: Path, call: str, line: int, *, reached: bool) -> None:
    """A call of hasten.install anywhere in the project is found, with its line, and whether it names the port."""
    project(tmp_path, main=MAKE, other=call)
    found = find_app(tmp_path, "")
    assert (found.installed, found.reached) == (f"other.py:{line}", reached)


def test_files_that_are_no_python_do_not_matter(tmp_path: Path) -> None:
    """A module with a syntax error hides no app in another one."""
    assert find_app(project(tmp_path, broken="def (", main=MAKE), "").target == "main:app"

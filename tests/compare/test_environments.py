"""What revisions are run by: their own files are imported, whatever the environment knows of the project."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.compare._environments import Environments, Preparation
from hasten.compare._git import Repository, find_repository, find_revisions, worktree
from hasten.compare._needs import installs, needs_of
from hasten.compare._sides import Workplace
from tests.compare.busy_apps import runs
from tests.compare.repositories import commit, make_repository

_PROJECT = "[project]\nname = 'shop'\nversion = '1'\n"
# Builds nothing and needs nothing: installs by a .pth file, as editable installs do.
_BACKEND = """
import pathlib, zipfile

def build_editable(folder, settings=None, metadata=None):
    name = "shop-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("shop.pth", str(pathlib.Path("src").absolute()))
        wheel.writestr("shop-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: shop\\nVersion: 1\\n")
        wheel.writestr("shop-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("shop-1.dist-info/RECORD", "")
    return name
"""
_BUILD = "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
# A finder that goes before all others, as some build backends install: no order of paths is before it.
_FINDER = """
import importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "shop":
            return importlib.util.spec_from_file_location(name, r"{init}", submodule_search_locations=[r"{folder}"])
sys.meta_path.insert(0, Finder)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Return a project with its package in src/, in two revisions that need the same."""
    folder = make_repository(tmp_path / "project")
    files = {"pyproject.toml": _PROJECT + _BUILD, "backend.py": _BACKEND, "main.py": "import shop\n"}
    commit(folder, {**files, "src/shop/__init__.py": "VERSION = 'old'\n"}, "old")
    commit(folder, {"src/shop/__init__.py": "VERSION = 'new'\n"}, "new")
    folder.joinpath("src/shop/__init__.py").write_text("VERSION = 'mine'\n")
    return find_repository(folder)


@pytest.fixture
def current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the current environment be a new one, which finds hasten; return its site-packages."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    environment = tmp_path / "current"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    packages.joinpath("all.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    return packages


def prepared(repository: Repository, given: str, scratch: Path, **settings: object) -> list[tuple[str, Workplace]]:
    """Return what `import main` finds as shop's version in each revision, and where that was."""
    scratch.mkdir(exist_ok=True)
    environments = Environments(repository, "main:app", Preparation(**settings), scratch, lambda _: None)  # type: ignore[arg-type]
    found = []
    before, after = find_revisions(repository, given)
    with worktree(repository, before, scratch / "1") as one, worktree(repository, after, scratch / "2") as two:
        for revision, root in ((before, one), (after, two)):
            place = environments.workplace(revision, root)
            found.append((version_in(place), place))
    return found


def version_in(place: Workplace) -> str:
    """Return the version of shop that is served at a workplace."""
    program = "import main, hasten.service; print(main.shop.VERSION)"
    command = [place.python, "-c", program]
    environment = {**os.environ, **place.environment}
    done = subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_current_environment_is_used_where_it_does(repository: Repository, current: Path, tmp_path: Path) -> None:
    """With the same needs and an editable install of the working tree, each revision imports its own files."""
    current.joinpath("shop.pth").write_text(str(repository.root / "src"))
    (old, before), (new, after) = prepared(repository, "old..new", tmp_path / "scratch")
    assert (old, new) == ("old", "new")
    assert before.python == after.python == sys.executable
    assert prepared(repository, "..new", tmp_path / "scratch")[0][0] == "mine"


def test_a_folder_by_another_name_is_the_same(repository: Repository, current: Path, tmp_path: Path) -> None:
    """An install that names the working tree by a symbolic link does not keep the revisions from their own files."""
    tmp_path.joinpath("link").symlink_to(repository.root)
    current.joinpath("shop.pth").write_text(str(tmp_path / "link" / "src"))
    (old, before), (new, _) = prepared(repository, "old..new", tmp_path / "scratch")
    assert (old, new) == ("old", "new")
    assert before.python == sys.executable


def test_an_app_that_ends_at_import_is_left_to_be_served(repository: Repository, current: Path, tmp_path: Path) -> None:
    """What an app does wrong is said when it is served, not while its environment is made."""
    commit(repository.root, {"main.py": "import os\nos._exit(0)\n"}, "ends")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environments = Environments(repository, "main:app", Preparation(), scratch, lambda _: None)
    revision, _ = find_revisions(repository, "ends..")
    with worktree(repository, revision, scratch / "1") as root:
        assert environments.workplace(revision, root).python == sys.executable


def test_an_install_that_comes_first_gets_an_environment(repository: Repository, current: Path, tmp_path: Path) -> None:
    """Where the current environment would import the working tree's files whatever comes first, one is made.

    It is shared: both revisions need the same.
    """
    package = repository.root / "src" / "shop"
    current.joinpath("finder_of_shop.py").write_text(_FINDER.format(init=package / "__init__.py", folder=package))
    current.joinpath("shop.pth").write_text("import finder_of_shop")
    (old, before), (new, after) = prepared(repository, "old..new", tmp_path / "scratch")
    assert (old, new) == ("old", "new")
    assert before.python == after.python != sys.executable


def test_other_requirements_are_installed(repository: Repository, current: Path, tmp_path: Path) -> None:
    """A revision with another requirements.txt gets what that names, and hasten, which it does not name."""
    current.joinpath("shop.pth").write_text(str(repository.root / "src"))
    wheel = tmp_path / "tool-2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tool.py", "VERSION = 'from the tool'\n")
        archive.writestr("tool-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 2\n")
        archive.writestr("tool-2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tool-2.dist-info/RECORD", "")
    files = {"requirements.txt": f"{wheel}\n", "src/shop/__init__.py": "from tool import VERSION\n"}
    commit(repository.root, files, "tool")
    repository.root.joinpath("requirements.txt").unlink()
    (old, before), (new, after) = prepared(repository, "old..tool", tmp_path / "scratch")
    assert (old, new) == ("old", "from the tool")
    assert before.python == sys.executable != after.python


def test_what_cannot_be_installed_is_one_line(repository: Repository, current: Path, tmp_path: Path) -> None:
    """The installer's last words are told, with what replaces it."""
    commit(repository.root, {"requirements.txt": "no-such-package-here==1\n"}, "broken")
    repository.root.joinpath("requirements.txt").unlink()
    with pytest.raises(ConfigurationError) as caught:
        prepared(repository, "broken..old", tmp_path / "scratch")
    message = str(caught.value)
    assert message.startswith("environment of broken: ")
    assert "no-such-package-here" in message
    assert message.endswith("; --setup replaces it")
    assert "\n" not in message


def test_a_setup_command_replaces_it(repository: Repository, current: Path, tmp_path: Path) -> None:
    """It runs in each worktree by a shell, which knows the working tree; the .venv that it makes is used.

    Hasten is lent to it.
    """
    repository.root.joinpath("version.py").write_text("VERSION = 'set up'\n")
    current.joinpath("shop.pth").write_text(str(repository.root / "src"))
    setup = (
        f"{sys.executable} -m venv --without-pip .venv && cp $HASTEN_WORKING_TREE/version.py src/shop/__init__.py && "
    )
    setup += "cd .venv/lib/python3*/site-packages && echo $OLDPWD/src > shop.pth"
    (before, place), (after, _) = prepared(repository, "old..", tmp_path / "scratch", setup=setup)
    assert (before, after) == ("set up", "mine")
    assert place.folder is not None
    assert Path(place.python).is_relative_to(place.folder)


def test_a_setup_that_fails_is_one_line(repository: Repository, current: Path, tmp_path: Path) -> None:
    """Its last words and its exit code are told."""
    setup = "echo one; echo 'the compiler is missing' >&2; exit 7"
    with pytest.raises(ConfigurationError) as caught:
        prepared(repository, "old..new", tmp_path / "scratch", setup=setup)
    assert str(caught.value).startswith(
        "--setup for old: sh ended with exit code 7; its last words: one | the compiler is missing"
    )


def test_a_setup_that_takes_too_long_is_ended(repository: Repository, current: Path, tmp_path: Path) -> None:
    """It is ended with all that it has started."""
    note = tmp_path / "pid"
    with pytest.raises(ConfigurationError, match=r"^--setup for old: not done within 0\.5 s"):
        prepared(repository, "old..new", tmp_path / "scratch", setup=f"sleep 60 & echo $! > {note}; wait", timeout=0.5)
    assert not runs(int(note.read_text()))


def test_a_revision_without_the_folder_is_one_line(repository: Repository, current: Path, tmp_path: Path) -> None:
    """Run in a folder that a revision has not, it says so."""
    inside = Repository(repository.root, Path("services/late"))
    with pytest.raises(ConfigurationError, match=r"^--git old: it has no folder services/late; run it in a folder"):
        prepared(inside, "old..new", tmp_path / "scratch")


def test_needs_are_what_an_installer_reads(tmp_path: Path) -> None:
    """Dependencies and build change the needs of a project; its version, its words and its tools do not."""

    def needs(name: str, text: str) -> str:
        tmp_path.joinpath(name).write_text(text)
        return needs_of(tmp_path, tmp_path)

    first = needs("pyproject.toml", _PROJECT)
    assert needs("pyproject.toml", _PROJECT.replace("'1'", "'2'") + "[tool.ruff]\nline-length = 90\n") == first
    assert needs("pyproject.toml", _PROJECT + "dependencies = ['uvicorn']\n") != first
    assert needs("pyproject.toml", _PROJECT + _BUILD) != first
    assert needs("pyproject.toml", _PROJECT) == first
    assert needs("uv.lock", "") != first
    assert needs("pyproject.toml", "this is no TOML") != first


def test_what_is_installed(tmp_path: Path) -> None:
    """A pyproject.toml that only holds tools' settings is no project to install; requirements are taken besides it."""
    assert installs(tmp_path, tmp_path) == []
    tmp_path.joinpath("pyproject.toml").write_text("[tool.ruff]\n")
    assert installs(tmp_path, tmp_path) == []
    tmp_path.joinpath("requirements.txt").write_text("")
    tmp_path.joinpath("pyproject.toml").write_text(_PROJECT)
    assert installs(tmp_path, tmp_path) == ["-r", str(tmp_path / "requirements.txt"), "-e", str(tmp_path)]

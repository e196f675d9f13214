"""`hasten init`: shows, asks once, writes all or nothing, and changes nothing a second time."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hasten.cli import main
from hasten.init import GROUPS
from tests.init.projects import make_project

Run = Callable[..., tuple[int, str, str]]
WRITTEN = {
    "pyproject.toml",
    "slo.toml",
    "plan.toml",
    "shop/main.py",
    "Dockerfile",
    ".dockerignore",
    "compose.yaml",
    ".github/workflows/hasten.yaml",
    "deploy/kubernetes/base/deployment.yaml",
    "deploy/prometheus/prometheus.yml",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


@pytest.fixture
def hasten(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `hasten init` in this process, where nobody can be asked, and gives code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["init", *arguments])
        code = caught.value.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


def content(root: Path) -> dict[str, bytes]:
    """Return all files below a folder; what importing has cached is none."""
    found = {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
    return {path: data for path, data in found.items() if "__pycache__" not in path}


def test_it_writes_once_and_then_nothing(project: Path, hasten: Run) -> None:
    """--yes writes everything; a second run says that everything is there, and leaves all files as they are."""
    code, said, _ = hasten("--yes")
    lines = said.splitlines()
    assert code == 0
    assert lines[0] == "app: shop.main:app (shop/main.py)"
    assert "  pyproject.toml: changed" in lines
    assert '+    "hasten>=0.1.0",' in lines
    assert "+app = hasten.install(" in lines
    assert lines[-1].startswith("next: hasten run shop.main:app ")
    before = content(project)
    assert set(before) >= WRITTEN
    code, said, _ = hasten("--yes")
    assert code == 0
    assert "nothing to write: everything is there" in said
    assert content(project) == before


def test_a_dry_run_shows_all_and_writes_nothing(project: Path, hasten: Run) -> None:
    """--dry-run prints each file as a diff, new ones against nothing, and how to write them."""
    before = content(project)
    code, said, _ = hasten("--dry-run")
    assert code == 0
    assert "+++ b/deploy/kubernetes/base/deployment.yaml" in said
    assert "+  terminationGracePeriodSeconds" not in said
    assert "+      terminationGracePeriodSeconds: 30" in said
    assert said.splitlines()[-1] == "next: the same with --yes writes them"
    assert content(project) == before


def test_where_nobody_can_be_asked_nothing_is_written(project: Path, hasten: Run) -> None:
    """Without a terminal and without --yes it shows what it would do, writes nothing, and exits 2."""
    before = content(project)
    code, said, message = hasten()
    assert code == 2
    assert "  Dockerfile: new, " in said
    assert message == "error: hasten init: nothing written: nobody can be asked here; give --yes or --dry-run\n"
    assert content(project) == before


@pytest.mark.parametrize(
    ("answer", "written", "code"),
    [("y\n", True, 0), ("n\n", False, 0), ("\n", False, 0), ("\x04", False, 130)],
    ids=["yes", "no", "return", "end"],
)
def test_on_a_terminal_it_asks_once(project: Path, answer: str, *, written: bool, code: int) -> None:
    """The answer decides, and an end of all answers is an interruption; the diff before the question is coloured."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hasten", "init", "--only", "pyproject,app"]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        command, cwd=project, env=environment, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        said = b""
        try:
            while read := os.read(ours, 4096):
                said += read
        except OSError:  # Linux' way to say that the other side is closed
            pass
        assert process.stderr is not None
        asked = process.stderr.read()
        assert process.wait(30) == code
    os.close(ours)
    assert "Traceback" not in asked
    assert asked.count("write 2 files in ") == 1
    assert b"\x1b[32m+app = hasten.install(" in said
    assert ("hasten.install" in (project / "shop/main.py").read_text()) is written


def test_files_of_somebody_else_stay(project: Path, hasten: Run) -> None:
    """A Dockerfile of one's own is kept with a word; --force shows the difference, and writes over it."""
    (project / "Dockerfile").write_text("FROM mine\n")
    code, said, _ = hasten("--yes", "--only", "docker")
    assert code == 0
    assert "  Dockerfile: kept, since it is another one; --force writes over it" in said
    assert (project / "Dockerfile").read_text() == "FROM mine\n"
    code, said, _ = hasten("--yes", "--only", "docker", "--force")
    assert code == 0
    assert "-FROM mine" in said.splitlines()
    assert 'ENTRYPOINT ["hasten", "run", "shop.main:app"]' in (project / "Dockerfile").read_text()


def test_what_was_changed_by_hand_stays(project: Path, hasten: Run) -> None:
    """Objectives that were written by hand stay, and Prometheus' rules are made from them."""
    hasten("--yes")
    slo = project / "slo.toml"
    slo.write_text(slo.read_text().replace('name = "fast"', 'name = "quick"'))
    mine = slo.read_text()
    code, said, _ = hasten("--yes")
    assert code == 0
    assert "  slo.toml: kept, " in said
    assert "  deploy/prometheus/rules/slo-my-shop.yml: changed" in said
    assert slo.read_text() == mine
    assert "quick" in (project / "deploy/prometheus/rules/slo-my-shop.yml").read_text()


def test_another_grace_changes_what_depends_on_it(project: Path, hasten: Run) -> None:
    """Files that are as they were written follow another --grace, without --force."""
    hasten("--yes")
    code, said, _ = hasten("--yes", "--grace", "30s")
    assert code == 0
    changed = [line.strip() for line in said.splitlines() if line.endswith(": changed")]
    assert changed == [
        "Dockerfile: changed",
        "compose.yaml: changed",
        "deploy/kubernetes/base/deployment.yaml: changed",
    ]
    assert "terminationGracePeriodSeconds: 70" in (project / "deploy/kubernetes/base/deployment.yaml").read_text()


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "compose"])
def test_one_group_alone(project: Path, hasten: Run, group: str) -> None:
    """--only writes what it names, and nothing else."""
    code, said, _ = hasten("--yes", "--json", "--only", group)
    found = json.loads(said)
    assert code == 0
    assert found["written"]
    assert {file["group"] for file in found["files"]} == {group}
    assert ("hasten.install" in (project / "shop/main.py").read_text()) is (group == "app")


def test_json_is_all_there_is_on_stdout(project: Path, hasten: Run) -> None:
    """With --json a program reads the app, each file with its state and diff, and the notes."""
    code, said, message = hasten("--dry-run", "--json")
    found = json.loads(said)
    assert (code, message, found["app"], found["written"]) == (0, "", "shop.main:app", False)
    assert {file["path"] for file in found["files"]} >= WRITTEN
    states = {file["path"]: file["state"] for file in found["files"]}
    assert (states["pyproject.toml"], states["slo.toml"]) == ("changed", "new")
    assert all(file["diff"].startswith("--- ") for file in found["files"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "docker,dokcer"), "--only: 'dokcer' is nothing that it writes; choose from pyproject, slo, app, "),
        (("--only", ","), "--only: names nothing; choose from "),
        (("--only", "compose"), "--only: compose needs slo.toml, which is not there; add slo to it"),
        (("--app", "shop"), "--app shop: not of the form module:app; for example main:app"),
        (("--service", "My Shop"), "--service My Shop: is no name of a service; write one like my-shop"),
        (("--grace", "0s"), "--grace: 0 s is no time to wait; give up to 1h"),
        (("--example", "--app", "x:y"), "--app: the example is a project of its own; leave it out, or --example"),
        (("nowhere",), "/nowhere: no such folder; give the project's"),
    ],
)
def test_what_cannot_be_done_is_one_line(project: Path, hasten: Run, arguments: tuple[str, ...], message: str) -> None:
    """A wrong option is told in one line, without a traceback, and nothing is written."""
    before = content(project)
    code, said, told = hasten("--yes", *arguments)
    assert (code, said, told.count("\n")) == (2, "", 1)
    assert message in told
    assert content(project) == before


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("pyproject.toml", "[project\n", "pyproject.toml: cannot be read: "),
        ("pyproject.toml", "\udcff", "pyproject.toml: cannot be read: "),
        (
            "second.py",
            "from fastapi import FastAPI\napp = FastAPI()\n",
            "several FastAPI apps: second:app, shop.main:app",
        ),
        ("slo.toml", "[[objective]]\n", "slo.toml: "),
        ("compose.yaml/x", "", "compose.yaml: cannot be read: "),
    ],
)
def test_a_project_that_is_not_clear_is_one_line(
    project: Path, hasten: Run, file: str, text: str, message: str
) -> None:
    """What is broken or ambiguous in the project is told with its place, and nothing is written."""
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_bytes(text.encode(errors="surrogateescape"))
    before = content(project)
    code, said, told = hasten("--yes")
    assert (code, said, told.count("\n")) == (2, "", 1)
    assert message in told
    assert content(project) == before


def test_an_edit_that_is_not_plainly_safe_is_left_to_you(project: Path, hasten: Run) -> None:
    """Where the module binds `os` to something else, the line to add is said, and the rest is written."""
    module = project / "shop/main.py"
    module.write_text(module.read_text() + "\nos = 1\n")
    before = module.read_text()
    code, said, _ = hasten("--yes")
    assert code == 0
    (note,) = [line for line in said.splitlines() if line.startswith("note: shop/main.py: ")]
    assert 'add behind the app: app = hasten.install( app, service="my-shop"' in note
    assert module.read_text() == before
    assert (project / "Dockerfile").exists()


def test_another_compose_file_is_not_pushed_aside(project: Path, hasten: Run) -> None:
    """Compose would take compose.yaml in the place of a project's docker-compose.yml: none is written."""
    (project / "docker-compose.yml").write_text("services: {}\n")
    code, said, _ = hasten("--yes")
    assert code == 0
    assert "note: docker-compose.yml is there: " in said
    assert not (project / "compose.yaml").exists()


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"uv.lock": ""}, "uv.lock does not know the new dependency yet: run uv lock"),
        (
            {"pyproject.toml": '[build-system]\nbuild-backend = "setuptools.build_meta"\n'},
            "setuptools would take the folder",
        ),
        (
            {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.11"\n'},
            "add 'hasten>=0.1.0' to what the project",
        ),
    ],
)
def test_what_is_left_to_do_is_said(project: Path, hasten: Run, files: dict[str, str], note: str) -> None:
    """A lock that is behind, folders that a builder would take for packages, a dependency that cannot be added."""
    for name, text in files.items():
        (project / name).write_text(text)
    code, said, _ = hasten("--yes")
    assert code == 0
    assert f"note: {note}" in said


def test_the_example_is_written_into_a_folder(project: Path, hasten: Run) -> None:
    """--example writes the starter, and a second time nothing; a file of one's own stays."""
    code, said, _ = hasten("new/starter", "--example", "--yes")
    assert code == 0
    assert said.splitlines()[-1].endswith("new/starter/README.md says how to start them")
    readme = project / "new/starter/README.md"
    readme.write_text("mine")
    code, said, _ = hasten("new/starter", "--example", "--yes")
    assert code == 0
    assert "  README.md: kept, " in said
    assert "nothing to write" in said
    assert readme.read_text() == "mine"


def test_without_pyyaml_the_extra_is_named(project: Path) -> None:
    """Whoever has not installed the extra is told its name, before anything is written."""
    before = content(project)
    code = "import sys; sys.modules['yaml'] = None; from hasten.cli import main; main(['init', '--yes'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: pyyaml is not installed; run: pip install 'hasten[monitor]'\n",
    )
    assert content(project) == before

"""ruff's ASYNC rules, called as a tool: they know misuse of asyncio, our rules know what costs time."""

import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hasten.diagnose._rule import Candidate
from hasten.diagnose._source import Project

_TIMEOUT = 120.0  # seconds; ruff reads 10,000 files in less than one
_FILES_AT_ONCE = 500  # a command line holds some 2 MB


class _Location(msgspec.Struct):
    row: int


class _Diagnostic(msgspec.Struct):
    """The part of ruff's JSON that is used; a syntax error has no ASYNC code, and we report it ourselves."""

    filename: str
    location: _Location
    message: str
    code: str | None = None


def find_ruff() -> str | None:
    """Return the path of ruff: installed beside this Python, else on PATH; None when there is none."""
    beside = Path(sysconfig.get_path("scripts")) / "ruff"
    return str(beside) if beside.exists() else shutil.which("ruff")


def ruff_findings(files: Sequence[Path], project: Project, ruff: str) -> Iterator[Candidate]:
    """Yield what ruff's ASYNC rules say about these files; nothing when the tool fails.

    The files' own `# noqa` comments are respected by ruff, its configuration is not read.
    """
    functions = {module.file: module.function_at for module in project.modules.values()}
    for start in range(0, len(files), _FILES_AT_ONCE):
        for found in _diagnostics(files[start : start + _FILES_AT_ONCE], ruff):
            if found.code is not None and found.code.startswith("ASYNC") and found.filename in functions:
                yield Candidate(
                    code=found.code,
                    file=found.filename,
                    line=found.location.row,
                    lines=(found.location.row,),
                    function=functions[found.filename](found.location.row),
                    message=found.message,
                )


def _diagnostics(files: Sequence[Path], ruff: str) -> list[_Diagnostic]:
    command = [
        ruff,
        "check",
        "--select",
        "ASYNC",
        "--output-format",
        "json",
        "--isolated",
        "--no-cache",
        "--exit-zero",
    ]
    try:
        done = subprocess.run([*command, "--", *map(str, files)], capture_output=True, timeout=_TIMEOUT, check=False)
        return msgspec.json.decode(done.stdout, type=list[_Diagnostic])
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError):
        return []

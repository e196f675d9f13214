"""Projects that tests add hasten to, and processes of `hasten run` in them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hasten.init import Options, Proposal, propose, write

APP = '''"""The shop's app."""

from fastapi import APIRouter, FastAPI

router = APIRouter(prefix="/products")


@router.get("/{product_id}")
async def product(product_id: int) -> int:
    return product_id


@router.get("")
async def products() -> list[int]:
    return [7]


app = FastAPI()
app.include_router(router)


@app.post("/orders")
async def order(product_id: int) -> int:
    return product_id


@app.get("/search")
async def search(words: str) -> str:
    return words


if __name__ == "__main__":
    raise SystemExit("not by hand")
'''
PYPROJECT = """\
[project]
name = "My_Shop"
version = "1.0"
requires-python = ">=3.11"
# what it needs
dependencies = [
    "fastapi>=0.115",  # the web
    "httpx"
]
"""


def make_project(root: Path, module: str = "shop/main.py", app: str = APP, pyproject: str | None = PYPROJECT) -> Path:
    """Write a project into a folder and return that."""
    file = root / module
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(app)
    if pyproject is not None:
        (root / "pyproject.toml").write_text(pyproject)
    return root


def initialised(root: Path, options: Options | None = None) -> Proposal:
    """Add hasten to a project, and return what was written."""
    proposal = propose(root, options or Options())
    write(root, proposal.written)
    return proposal


@dataclass(frozen=True, slots=True)
class Running:
    """A process of `hasten run`.

    Attributes:
      url: Of the app.
      admin: Of its admin port.
    """

    process: "subprocess.Popen[str]"
    url: str
    admin: str

    def stop(self) -> int:
        """End it by SIGTERM and return its exit code."""
        self.process.terminate()
        return self.process.wait(30)


@contextmanager
def running(folder: Path, *options: str, **variables: str) -> Iterator[Running]:
    """Run `hasten run` in a folder, on free ports; end it if the test has not."""
    command = [sys.executable, "-m", "hasten", "run", *options, "--port", "0", "--lame-duck", "0s"]
    environment = {**os.environ, "HASTEN_ADMIN": "127.0.0.1:0", **variables}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process, _said(process, "listening on"), _said(process, "seen live on"))
        finally:
            if process.poll() is None:
                process.kill()


def _said(process: "subprocess.Popen[str]", words: str) -> str:
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(rf"{words} (http://\S+)", line)
    assert found, line + process.stderr.read()
    return found[1]

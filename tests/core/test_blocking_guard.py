"""The tests' own guard: blocking calls of hasten raise while a loop runs, an app's do not."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

OURS = Path(__file__).parents[2] / "src" / "hasten" / "imagined.py"


def compiled(file: Path, source: str) -> dict[str, Any]:
    """Return the names that `source` defines, as if it stood in `file`."""
    names: dict[str, Any] = {"time": time}
    exec(compile(source, str(file), "exec"), names)
    return names


def run(function: Callable[[], None]) -> None:
    async def main() -> None:
        function()

    asyncio.run(main())


def test_our_blocking_call_raises() -> None:
    """A sleep in a module of hasten is caught, through the standard library's frames too."""
    names = compiled(
        OURS, "def sleep(): time.sleep(0)\ndef read(): __import__('pathlib').Path('/dev/null').read_text()"
    )
    for name in ("sleep", "read"):
        with pytest.raises(BlockingError):
            run(names[name])


def test_blocking_call_of_an_app_passes() -> None:
    """An app under test that blocks below a frame of hasten is left alone."""
    names = compiled(OURS, "def call(app): app()")
    run(lambda: names["call"](lambda: time.sleep(0)))


def test_our_blocking_call_without_a_loop_passes() -> None:
    """Outside an event loop blocking is no fault."""
    compiled(OURS, "def sleep(): time.sleep(0)")["sleep"]()


@pytest.mark.may_block
def test_marked_test_may_block() -> None:
    """A test marked may_block is not watched."""
    run(compiled(OURS, "def sleep(): time.sleep(0)")["sleep"])

"""faults.toml tells the truth about the slow edition."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shop.launcher import EDITIONS, ROOT

FOLDER = ROOT / "examples" / "shop" / "slow"
FAULTS: list[dict[str, str]] = tomllib.loads((FOLDER / "faults.toml").read_text())["fault"]
KINDS = {
    "blocking-client",
    "blocking-sqlite",
    "sequential-awaits",
    "n-plus-one",
    "client-per-request",
    "sync-dependency",
    "double-validation",
    "cpu-loop",
    "base-http-middleware",
    "no-timeout",
    "repeated-call",
    "httpx-between-services",
}


def functions(path: Path) -> Iterator[tuple[str, range]]:
    """Yield every function of a module with its lines, decorators included."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield node.name, range(first, (node.end_lineno or first) + 1)


def marked_lines(fault: dict[str, str]) -> list[int]:
    """The lines that carry a fault's marker."""
    lines = (FOLDER / fault["file"]).read_text().splitlines()
    return [number for number, line in enumerate(lines, start=1) if fault["marker"] in line]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']}-{fault['function']}")
def test_fault(fault: dict[str, str]) -> None:
    """A fault names a service's module, and its marker stands once, inside the function named."""
    assert set(fault) == {"kind", "service", "file", "function", "marker", "story"}
    assert f"examples.shop.slow.{fault['file'].removesuffix('.py')}:app" in {
        service.app for service in EDITIONS["slow"].services if service.name == fault["service"]
    }
    (line,) = marked_lines(fault)
    assert line in dict(functions(FOLDER / fault["file"]))[fault["function"]]
    assert fault["story"]


def test_every_kind_is_planted() -> None:
    """The list has every kind of fault, and no other."""
    assert {fault["kind"] for fault in FAULTS} == KINDS


def test_no_fault_twice() -> None:
    """No line is listed twice for one kind."""
    places = [(fault["kind"], fault["file"], fault["marker"]) for fault in FAULTS]
    assert len(places) == len(set(places))


def test_every_marker_is_listed() -> None:
    """No module has a marker that the list does not know."""
    listed = {(fault["file"], fault["marker"]) for fault in FAULTS}
    found = {
        (path.name, line[line.index("# fault:") :])
        for path in FOLDER.glob("*.py")
        for line in path.read_text().splitlines()
        if "# fault:" in line and path.name != "__init__.py"
    }
    assert found == listed


def test_services_do_not_know_who_watches() -> None:
    """No service names the tool that measures it."""
    for path in FOLDER.glob("*.py"):
        assert "hasten" not in path.read_text()

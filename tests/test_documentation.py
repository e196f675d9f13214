"""What the documentation shows is so: code runs, commands and options exist, links lead somewhere."""

import ast
import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hasten.cli import app
from hasten.load import Plan
from hasten.rpc import Limits
from tests.events.databases import postgres_url

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
SECTION_LINK = re.compile(r"\]\(([^)#\s]*)#([^)]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PRINTS = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
LOGS = re.compile(r"  # logs (.*)$", re.MULTILINE)
SERVERS = {
    "redis://localhost:6379/0": "redis_url",
    "memcached://localhost:11211": "memcached_url",
    "amqp://localhost": "amqp_url",
    "postgresql://localhost/shop": "shop_url",
}
"""The fixtures of the servers that programs on the pages connect to."""


@pytest.fixture
def shop_url() -> str:
    """Return the URL of a PostgreSQL."""
    return postgres_url()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(language: str) -> Iterator[Any]:
    """Yield each code block in `language` as a test's parameter, with the page and line it stands at."""
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.finditer(text):
            if block[1] == language:
                line = text.count("\n", 0, block.start()) + 1
                yield pytest.param(block[2], id=f"{name_of(page)}:{line}")


def hasten_commands() -> Iterator[Any]:
    """Yield the arguments of each `$ hasten ...` line."""
    for parameter in blocks("console"):
        (text,) = parameter.values
        for line in text.splitlines():
            if line.startswith("$ hasten "):
                yield pytest.param(shlex.split(line)[2:], id=f"{parameter.id} {line[2:]}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a page of this project names one that exists."""
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = HEADING.findall(BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_sections(page: Path) -> None:
    """Every link to a section of a page of this project names one that exists."""
    links = [(target, anchor) for target, anchor in SECTION_LINK.findall(page.read_text()) if "://" not in target]
    assert [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)] == []


@pytest.mark.parametrize("source", list(blocks("python")))
def test_python_blocks_run(
    source: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every Python block that is a whole program runs as it stands; a fragment at least parses.

    One that says behind `print` what it prints does so. One that runs a loop finds real servers in the place of its
    addresses, makes its files elsewhere, and complains of nothing but what it says behind `# logs`.
    """
    tree = ast.parse(source)
    if not (any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body) and "hasten" in source):
        return
    runs = "asyncio.run(" in source
    for address in SERVERS if runs else ():
        if address in source:
            source = source.replace(address, request.getfixturevalue(SERVERS[address]))
    if runs:
        monkeypatch.chdir(tmp_path)
    exec(compile(source, "block", "exec"), {"__name__": "block"})
    if expected := PRINTS.findall(source):
        assert capsys.readouterr().out.splitlines() == expected
    if runs:
        assert_logged(caplog.messages, LOGS.findall(source))


def assert_logged(messages: list[str], expected: list[str]) -> None:
    """Check that each message has one of the texts, and each text is in a message of its own."""
    left = list(messages)
    for text in expected:
        found = next((message for message in left if text in message), None)
        assert found is not None, f"not logged: {text}"
        left.remove(found)
    assert left == []


@pytest.mark.parametrize("source", list(blocks("toml")))
def test_plans_are_valid(source: str, tmp_path: Path) -> None:
    """Every TOML block with requests is a plan that can be run as it stands, but for the server's address."""
    if "[[request]]" in source:
        (tmp_path / "plan.toml").write_text(source)
        Plan.from_file(tmp_path / "plan.toml", target="http://127.0.0.1")


@pytest.mark.parametrize("arguments", list(hasten_commands()))
def test_commands_exist(arguments: list[str]) -> None:
    """Every command line of hasten names a verb, with the one below it if there are any, and options that exist."""
    command: Any = get_command(app)
    left = list(arguments)
    while commands := getattr(command, "commands", {}):
        unnamed = next((below for below in commands.values() if below.hidden), None)
        if unnamed is not None and left[0] not in commands:
            command = unnamed
            continue
        verb = left.pop(0)
        assert verb in commands, verb
        command = commands[verb]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {argument for argument in left if argument.startswith("--")} <= known


def parameters_of(command: Any) -> Iterator[Any]:
    """Yield what a command takes, and the commands below it."""
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from parameters_of(below)


def test_command_reference_is_complete() -> None:
    """The reference of the command line names every verb, option and variable."""
    text = (ROOT / "docs" / "reference" / "cli.md").read_text()
    command: Any = get_command(app)
    for verb, details in command.commands.items():
        assert f"## hasten {verb}" in text
        section = text.split(f"## hasten {verb}\n")[1].split("\n## ")[0]
        for parameter in parameters_of(details):
            if parameter.param_type_name == "option" and parameter.name != "help":
                missing = [word for word in (*parameter.opts, parameter.envvar) if f"`{word}" not in section]
                assert not missing, f"{verb}: {missing}"


def test_every_limit_of_rpc_is_documented() -> None:
    """The reference of gRPC names every limit, in the words of its docstring."""
    page = ROOT.joinpath("docs/reference/rpc.md").read_text()
    explained = " ".join((Limits.__doc__ or "").split())
    named: set[str] = set()
    for row in re.findall(
        r"^\| ([^|]+) \| [^|]+ \| (.+) \|$", page.split("## Limits")[1].split("\n## ")[0], re.MULTILINE
    ):
        names = row[0].replace("`", "")
        if names != "limit" and set(names) != {"-"}:
            assert f" {names}: {row[1]}" in explained
            named.update(names.split(", "))
    assert named == {field.name for field in dataclasses.fields(Limits)}


def test_promises_name_tests_that_exist() -> None:
    """Every test that docs/promises.md gives as proof exists."""
    named = TEST.findall((ROOT / "docs" / "promises.md").read_text())
    assert named
    for file, function in named:
        assert (ROOT / file).exists(), file
        assert f"def {function}(" in (ROOT / file).read_text(), f"{file}::{function}"

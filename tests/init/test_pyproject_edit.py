"""The edit of pyproject.toml: what is there stays as it is, and TOML reads what was added."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.init._pyproject_edit import Settings, depends_on, edit

SETTINGS = Settings(requirement="hasten>=0.1.0", app="shop.main:app", plan="plan.toml")
ENTRIES = st.sampled_from(['"fastapi"', "'httpx>=0.28'", '"a[b]>=1,<2"', '"x; python_version < \\"3.12\\""', '"#no"'])
COMMENTS = st.sampled_from(["", '  # why ] [ "', "  # 'x"])


@st.composite
def dependencies(draw: st.DrawFn) -> str:
    """Return an array of dependencies in one of the ways in which people write it."""
    entries = draw(st.lists(ENTRIES, max_size=3))
    if draw(st.booleans()):
        end = draw(st.sampled_from(["", ",", " ", ", "] if entries else ["", " "]))
        return f"[{', '.join(entries)}{end}]"
    indent = draw(st.sampled_from(["    ", "\t", "  ", ""]))
    lines = [f"{indent}{entry},{draw(COMMENTS)}\n" for entry in entries]
    without_comma = draw(st.booleans())
    if lines and without_comma:
        lines[-1] = f"{indent}{entries[-1]}{draw(COMMENTS)}\n"
    return f"[{draw(COMMENTS)}\n{''.join(lines)}]"


BEFORE = st.sampled_from(
    ["", '[build-system]\nrequires = [\n    "hatchling",\n]\n\n', "# a head\n", '[tool.x]\na = "[project]"\n']
)
AFTER = st.sampled_from(
    [
        "",
        "\n[tool.ruff]\nline-length = 100",
        "\n[project.scripts]\nx = 'y:z'\n",
        "[[tool.y]]\n",
        "[tool.hasten] # ours\n",
    ]
)


@given(BEFORE, st.none() | dependencies(), AFTER, st.sampled_from(["\n", "\r\n"]))
def test_whatever_the_file_it_says_what_it_said_and_more(
    before: str, array: str | None, after: str, ending: str
) -> None:
    """TOML reads everything that was there, with the dependency and the tables, and nothing is left to be done."""
    listed = "" if array is None else f"dependencies = {array}\n"
    text = f'{before}[project]\nname = "shop"  # its name\n{listed}{after}'.replace("\n", ending)
    result = edit(text, SETTINGS)
    expected: dict[str, Any] = tomllib.loads(text)
    expected["project"]["dependencies"] = [*expected["project"].get("dependencies", []), "hasten>=0.1.0"]
    gate = {"plan": "plan.toml", "objectives": {"*": {"errors": "0.1%"}}}
    expected.setdefault("tool", {})["hasten"] = {"app": "shop.main:app", "gate": gate}
    assert result.left == ()
    assert tomllib.loads(result.text) == expected
    assert result.text.count("\n") == result.text.count(ending)
    kept = [line.replace(",", "") for line in text.splitlines() if "dependencies = [" not in line]
    assert [line for line in kept if line not in result.text.replace(",", "")] == []
    assert edit(result.text, SETTINGS).text == result.text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('[project]\nname = "x"\ndynamic = ["dependencies"]\n', "'hasten>=0.1.0' to the project's dependencies"),
        ('project = {name = "x", dependencies = []}\n', "'hasten>=0.1.0' to the project's dependencies"),
        ('[project]\n"dependencies" = []\n', "'hasten>=0.1.0' to the project's dependencies"),
        ('[project]\ndependencies = ["""a""",\n]\n', "'hasten>=0.1.0' to the project's dependencies"),
        ("[project]\ndependencies = []\n[tool]\nhasten = {sample = 1}\n", 'app = "shop.main:app" to [tool.hasten]'),
    ],
)
def test_what_is_not_plainly_safe_is_said(text: str, left: str) -> None:
    """A file that is written otherwise is not edited there: what to add, and where, is said."""
    result = edit(text, SETTINGS)
    assert any(left in one for one in result.left)
    before, after = tomllib.loads(text), tomllib.loads(result.text)
    assert after.get("project") == before.get("project") or "app =" in left


def test_what_is_there_is_not_added_again() -> None:
    """A dependency of any version and spelling, an app and a gate of one's own stay."""
    project = '[project]\ndependencies = ["Hasten[grpc] ~= 0.1"]\n'
    text = project + '[tool.hasten]\napp = "x:y"\n[tool.hasten.gate]\nplan = "p"\n'
    assert edit(text, SETTINGS).text == text
    assert not depends_on(["hasten-more>=1", "other"], "hasten")

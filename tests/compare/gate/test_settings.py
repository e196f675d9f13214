"""[tool.hasten.gate]: what it says is read as it stands, and what is wrong in it is named with its key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.compare.gate import GateSettings, Objective, parse_percent, read_gate

pytestmark = pytest.mark.may_block

WHOLE = """
[tool.hasten]
app = "shop:app"

[tool.hasten.gate]
app = "shop.main:app"
plan = "plan.toml"
against = "main"
slower = "7.5 %"

[tool.hasten.gate.objectives."GET /products/{id}"]
p50 = "10ms"
errors = "0.1%"

[tool.hasten.gate.objectives.all]
cpu = "3ms"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "pyproject.toml"
    file.write_text(text)
    return file


def test_all_of_it(tmp_path: Path) -> None:
    """Every key is read, objectives in the file's order."""
    assert read_gate(written(tmp_path, WHOLE)) == GateSettings(
        app="shop.main:app",
        plan="plan.toml",
        against="main",
        slower=0.075,
        objectives=(
            Objective("GET /products/{id}", "p50", 0.01),
            Objective("GET /products/{id}", "errors", 0.001),
            Objective("all", "cpu", 0.003),
        ),
    )


@pytest.mark.parametrize("text", ["", "[tool.other]\nkey = 1", "[tool.hasten]\napp = 'a:b'"])
def test_no_table_demands_nothing(text: str, tmp_path: Path) -> None:
    """A project without the table has no demands, and no file is no error."""
    assert read_gate(written(tmp_path, text)) == GateSettings()
    assert read_gate(tmp_path / "nowhere.toml") == GateSettings()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("slower = 5", "tool.hasten.gate: Expected `str`, got `int` - at `$.slower`"),
        ("slower = '0.1%'", "slower: 0.1% is not from 0.5% to 100%"),
        ("slower = 'little'", "slower: 'little' is no percentage; write it like 5% or 0.1%"),
        ("colour = 'red'", "tool.hasten.gate: Object contains unknown field `colour`"),
        ("against = 'main'\nbaseline = 'b.json'", "against and baseline stand both there"),
        ("objectives.all.p75 = '1ms'", "'all'.p75: unknown; there is p50, p90, p99, cpu, errors"),
        ("objectives.all.p50 = '1'", "'all'.p50: '1' is no duration; write it like 200ms, 30s or 2m"),
        ("objectives.all.p50 = '0ms'", "'all'.p50: nothing takes no time"),
        ("objectives.all.errors = '101%'", "'all'.errors: '101%' is no percentage"),
        ("objectives.'GET /'.cpu = '1ms'", "'GET /'.cpu: CPU time is known of all kinds together"),
    ],
)
def test_what_is_wrong_is_named(table: str, said: str, tmp_path: Path) -> None:
    """A wrong key is named with file and place, in one line."""
    with pytest.raises(ConfigurationError) as caught:
        read_gate(written(tmp_path, f"[tool.hasten.gate]\n{table}\n"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[tool", "tool = 1", "[tool]\nhasten = 1", "\x00"])
def test_a_file_that_is_none(text: str, tmp_path: Path) -> None:
    """What is no TOML, or has something else in the table's place, is told in one line."""
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        read_gate(written(tmp_path, text))


@given(st.text())
def test_no_text_breaks_percentages(text: str) -> None:
    """A text is a share from 0 to 1, or an error."""
    try:
        share = parse_percent(text, "here")
    except ConfigurationError:
        return
    assert 0.0 <= share <= 1.0

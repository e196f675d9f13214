"""docs/reference/findings.md: a section for every rule, with examples that are what they say."""

import ast
import re
from pathlib import Path

import pytest

from hasten.diagnose._rule import Rule
from hasten.diagnose._source import Module
from hasten.diagnose.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"
STATIC = frozenset({"HS101", "HS202", "HS301", "HS302", "HS303", "HS305", "HS306", "HS401", "HS402"})
_EXAMPLE = re.compile(r"^(Bad|Good):\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Return the page's sections by heading."""
    parts = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def examples(rule: Rule) -> dict[str, str]:
    """Return the bad and the good example of a rule."""
    return dict(_EXAMPLE.findall(sections()[f"{rule.code} {rule.name}"]))


def codes(text: str, rule: Rule, folder: Path) -> list[str]:
    """Return what the rule says about an example."""
    file = folder / "app.py"
    file.write_text(text)
    return [candidate.code for candidate in rule.candidates(Module.parse(file))]


def test_every_rule_has_a_section_and_no_section_lacks_its_rule() -> None:
    """The headings are the codes and names of the rules, in order."""
    assert [name for name in sections() if name.startswith("HS")] == [f"{rule.code} {rule.name}" for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_section_says_what_why_and_what_to_do(rule: Rule) -> None:
    """Symptom, why, fix, and two examples that are Python; the table at the top names the rule."""
    section = sections()[f"{rule.code} {rule.name}"]
    for word in ("**Symptom.**", "**Why.**", "**Fix.**"):
        assert word in section
    assert set(examples(rule)) == {"Bad", "Good"}
    for text in examples(rule).values():
        ast.parse(text)
    anchor = f"#{rule.code.lower()}-{rule.name}"
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| [{rule.code}]({anchor})"))
    assert ("| yes |" in row) == (rule.code in STATIC)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.code in STATIC], ids=lambda rule: rule.code)
def test_bad_examples_are_flagged_and_good_ones_are_not(rule: Rule, tmp_path: Path) -> None:
    """The rule finds its trap in the bad example alone."""
    found = examples(rule)
    assert codes(found["Bad"], rule, tmp_path) == [rule.code]
    assert codes(found["Good"], rule, tmp_path) == []

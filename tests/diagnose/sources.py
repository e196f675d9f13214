"""Source files for tests of rules: written, parsed, asked for candidates; sites by what a line says."""

from pathlib import Path

from hasten.diagnose._evidence import Evidence
from hasten.diagnose._finding import Finding
from hasten.diagnose._rule import Candidate, Rule
from hasten.diagnose._source import Module, Project
from hasten.ledger import Account, Site


class Source:
    """One file of a service under test.

    Attributes:
      file: Its absolute path.
      candidates: What the rule says about it.
    """

    def __init__(self, rule: Rule, folder: Path, text: str) -> None:
        path = folder / "app.py"
        path.write_text(text)
        self.file = str(path)
        self._rule = rule
        self._lines = text.splitlines()
        self._module = Module.parse(path, Project())
        self.candidates: list[Candidate] = list(rule.candidates(self._module))

    def line(self, text: str) -> int:
        """Return the number of the only line that holds `text`."""
        (number,) = [number for number, line in enumerate(self._lines, 1) if text in line]
        return number

    def site(self, text: str, *, library: str = "", leaf: str = "") -> Site:
        """Return the place of the only line that holds `text`, as accounts name it."""
        line = self.line(text)
        return Site(self.file, line, self._module.function_at(line), library, leaf or library)

    def findings(self, accounts: list[Account]) -> list[Finding]:
        """Return what the rule proves with these accounts."""
        return list(self._rule.findings(Evidence(accounts), self.candidates))

"""The report as GitHub workflow commands: one annotation at the line of each finding.

Source: docs.github.com, "Workflow commands for GitHub Actions", and `escapeData`, `escapeProperty` of
actions/toolkit's command.ts.
"""

from collections.abc import Iterator
from pathlib import Path

from hasten.diagnose._finding import Finding
from hasten.diagnose.report import _words as words
from hasten.diagnose.report._report import Report


def github_lines(report: Report, base: Path) -> Iterator[str]:
    """Yield one workflow command for each finding, worst first.

    Args:
      base: The repository's root, which file names are made relative to.
    """
    for finding in report.diagnosis.findings:
        yield _annotation(finding, report, base)


def _annotation(finding: Finding, report: Report, base: Path) -> str:
    properties = (
        f"file={_property(words.path_of(finding.file, base))}",
        f"line={max(finding.line, 1)}",
        f"title={_property(finding.code)}",
    )
    return f"::warning {','.join(properties)}::{_data(_message(finding, report))}"


def _message(finding: Finding, report: Report) -> str:
    costs = words.cost(finding, report.diagnosis)
    sentences = [f"{finding.title} in {finding.function}."]
    sentences += [f"Costs {costs}."] if costs else []
    sentences += [finding.proof] if finding.proof else []
    sentences += [f"Fix: {finding.fix}"] if finding.fix else []
    return "\n".join(sentences)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

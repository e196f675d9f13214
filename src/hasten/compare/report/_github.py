"""The comparison as GitHub workflow commands: an annotation for its verdict, and one for each change that is worse.

Source: docs.github.com, "Workflow commands for GitHub Actions", and `escapeData`, `escapeProperty` of
actions/toolkit's command.ts.
"""

from collections.abc import Iterator

from hasten.compare._result import Comparison, Verdict
from hasten.compare.report import _words as words

_LEVELS = {Verdict.WORSE: "error", Verdict.UNDECIDED: "warning", Verdict.BETTER: "notice", Verdict.SAME: "notice"}


def github_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the workflow commands: first that of the verdict."""
    level = "error" if comparison.problems else _LEVELS[comparison.verdict]
    said = [words.headline(comparison), words.circumstances(comparison), *comparison.notes]
    yield _annotation(level, f"hasten compare: {comparison.before} to {comparison.after}", "\n".join(said))
    for change in comparison.changes:
        if change.verdict is Verdict.WORSE and not change.advisory:
            yield _annotation("error", f"{words.title(change)} is worse", words.sentence(change))


def _annotation(level: str, title: str, text: str) -> str:
    return f"::{level} title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

"""The comparison as Markdown, for a pull request's comment."""

from hasten.compare._result import Change, Comparison, Verdict
from hasten.compare.report import _words as words

_SIGNS = {Verdict.WORSE: "**worse**", Verdict.BETTER: "**better**"}
_COLUMNS = ("request", "metric", "before", "after", "change", "95 % interval", "p", "detects", "verdict")


def markdown(comparison: Comparison) -> str:
    """Return the report as a Markdown text."""
    lines = [f"### hasten compare: {_escaped(words.headline(comparison))}", ""]
    lines += [f"before: {_escaped(comparison.before)} · after: {_escaped(comparison.after)}", ""]
    if comparison.changes:
        lines += [_line(_COLUMNS), _line(("---", "---", *["---:"] * 6, "---"))]
        lines += [_line(_cells(kind, change)) for kind, changes in words.kinds(comparison) for change in changes]
        lines.append("")
    lines += [
        _escaped(said) + "  " for said in (words.circumstances(comparison), words.legend(comparison), *comparison.notes)
    ]
    return "\n".join([*lines, f"next: {_escaped(words.following(comparison))}", ""])


def _cells(kind: str, change: Change) -> tuple[str, ...]:
    verdict = words.verdict(change)
    return (
        _escaped(kind),
        words.metric(change),
        words.value(change, change.before),
        words.value(change, change.after),
        words.moved(change, change.change),
        words.interval(change),
        words.probability(change),
        words.seen(change),
        verdict if change.advisory else _SIGNS.get(change.verdict, verdict),
    )


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return a text with what Markdown and HTML would read taken as it stands."""
    for sign in "\\`*_{}[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.splitlines())

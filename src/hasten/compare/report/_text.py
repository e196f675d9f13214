"""The comparison as a table on a terminal, in 100 columns."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from hasten.compare._result import Change, Comparison, Verdict
from hasten.compare.report import _words as words

_COLUMNS = ("", "before", "after", "change", "95% interval", "p", "detects", "verdict")
_STYLES = {Verdict.WORSE: "bold red", Verdict.BETTER: "bold green", Verdict.UNDECIDED: "yellow", Verdict.SAME: ""}


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the verdict, the table, and what to do next."""
    style = "bold red" if comparison.problems else _STYLES[comparison.verdict]
    lines = [
        Text.assemble(("before", "bold"), "  ", comparison.before),
        Text.assemble(("after", "bold"), "   ", comparison.after),
        Text(words.headline(comparison), style),
        Text(),
        *(_table(comparison) if comparison.changes else ()),
        *(Text(said) for said in (words.circumstances(comparison), words.legend(comparison), *comparison.notes)),
        Text.assemble(("next:", "bold"), " ", words.following(comparison)),
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _table(comparison: Comparison) -> Iterator[Text]:
    """Yield the table's lines: a kind of request has a line of its own, as its name may be longer than any column."""
    rows = {id(change): _cells(change) for change in comparison.changes}
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows.values(), strict=True)]
    yield Text(_line(_COLUMNS, widths), "bold")
    yield Text("  " + "─" * (sum(widths) + 2 * len(widths) - 2))
    for kind, changes in words.kinds(comparison):
        yield Text(kind, "bold")
        for change in changes:
            line = Text(_line(rows[id(change)], widths), "dim" if change.advisory else "")
            if not change.advisory:
                line.highlight_words([change.verdict.value], _STYLES[change.verdict])
            yield line
    yield Text()


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *figures, verdict = cells
    numbers = [cell.rjust(width) for cell, width in zip(figures, widths[1:-1], strict=True)]
    return "  " + "  ".join([first.ljust(widths[0]), *numbers, verdict])


def _cells(change: Change) -> tuple[str, ...]:
    return (
        words.metric(change),
        words.value(change, change.before),
        words.value(change, change.after),
        words.moved(change, change.change),
        words.interval(change),
        words.probability(change),
        words.seen(change),
        words.verdict(change),
    )

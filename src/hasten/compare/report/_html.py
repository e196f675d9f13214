"""The comparison as one HTML page, with what every pair measured: no script, no asset."""

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from hasten.compare._result import Change, Comparison
from hasten.compare.report import _words as words
from hasten.compare.report._drawing import changes_drawing, sides_drawing

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_COLUMNS = ("metric", "before", "after", "change", "95% interval", "p", "detects", "verdict")


def html_page(comparison: Comparison) -> str:
    """Return the whole page."""
    title = f"{comparison.before} to {comparison.after}"
    style = files("hasten.compare.report").joinpath("page.css").read_text(encoding="utf-8")
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>hasten compare: {escape(title)}</title><style>{style}</style></head><body>",
        *_header(comparison),
        "<main>",
        *(part for kind, changes in words.kinds(comparison) for part in _kind(comparison, kind, changes)),
        "</main>",
        *_footer(comparison),
        "</body></html>\n",
    ]
    return "".join(parts)


def _header(comparison: Comparison) -> Iterator[str]:
    verdict = "invalid" if comparison.problems else comparison.verdict.value
    yield '<header><p class="brand"><b>hasten</b> compare</p>'
    yield f"<h1>{escape(comparison.before)} <span>to</span> {escape(comparison.after)}</h1>"
    yield f'<p class="verdict {verdict}">{escape(words.headline(comparison))}</p>'
    for said in (words.circumstances(comparison), *comparison.notes):
        yield f'<p class="soft">{escape(said)}</p>'
    yield f"<p><b>next:</b> {escape(words.following(comparison))}</p></header>"


def _kind(comparison: Comparison, kind: str, changes: list[Change]) -> Iterator[str]:
    yield f'<section><h2>{escape(kind)}</h2><div class="wide"><table><thead><tr>'
    yield "".join(f'<th scope="col">{column}</th>' for column in _COLUMNS)
    yield "</tr></thead><tbody>"
    yield from map(_row, changes)
    yield "</tbody></table></div>"
    yield from (drawing for change in changes for drawing in _drawings(comparison, change))
    yield "</section>"


def _row(change: Change) -> str:
    cells = (
        words.value(change, change.before),
        words.value(change, change.after),
        words.moved(change, change.change),
        words.interval(change),
        words.probability(change),
        words.seen(change),
    )
    figures = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
    name = "advisory" if change.advisory else change.verdict.value
    verdict = f'<td class="{name}">{escape(words.verdict(change))}</td>'
    return f'<tr><th scope="row">{escape(words.metric(change))}</th>{figures}{verdict}</tr>'


def _drawings(comparison: Comparison, change: Change) -> Iterator[str]:
    if change.metric == "errors" and not change.before and not change.after:
        return
    drawings = (sides_drawing(comparison, change), changes_drawing(comparison, change))
    if not all(drawings):
        return
    yield f'<figure><figcaption>{escape(words.metric(change))}: <i class="before">before</i> and '
    yield '<i class="after">after</i> round by round, and the change of each <i class="pair">pair</i> with the '
    yield '<i class="interval">interval</i> of its estimate</figcaption><div class="pairs">'
    yield f"{''.join(drawings)}</div></figure>"


def _footer(comparison: Comparison) -> Iterator[str]:
    yield f'<footer><p class="soft">{escape(words.legend(comparison))}</p><p class="soft">'
    facts = [f"{name} {value}" for name, value in comparison.environment.items() if value]
    yield f"{escape(' · '.join(facts))}</p></footer>"

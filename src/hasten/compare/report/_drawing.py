"""What each pair of rounds measured, as SVG: both sides on one axis, and the change from one to the other."""

import math
from collections.abc import Sequence
from html import escape

from hasten.compare._result import Change, Comparison, Pair, Round
from hasten.compare.report import _words as words

WIDTH, HEIGHT = 460, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 10, 10, 24
_SHOWN = 0.95  # of the points, in the middle: what lies further out is drawn at the edge
_MARGIN = 0.25  # of what is shown, above and below
_MOST_POINTS = 2000


def sides_drawing(comparison: Comparison, change: Change) -> str:
    """Return every round of both sides, in the order of the pairs; empty where nothing was measured."""
    pairs = comparison.pairs[-_MOST_POINTS:]
    series = {side: [_figure(getattr(pair, side), change) for pair in pairs] for side in ("before", "after")}
    scale = _Scale([*series["before"], *series["after"]], len(pairs))
    if not scale.known:
        return ""
    points = [
        scale.point(index, figure, side, f"pair {index + 1}, {side}: {words.value(change, figure)}")
        for side, figures in series.items()
        for index, figure in enumerate(figures)
    ]
    lines = [scale.line(getattr(change, side), side) for side in series]
    ticks = scale.ticks(lambda figure: words.value(change, max(figure, 0.0)))
    return _svg(f"{words.title(change)} of both sides, pair by pair", [*ticks, *points, *lines])


def changes_drawing(comparison: Comparison, change: Change) -> str:
    """Return the change of every pair, with the estimate, its interval, and what does not matter."""
    figures = [_moved(pair, change) for pair in comparison.pairs[-_MOST_POINTS:]]
    bounds = [figure for figure in (change.low, change.high, 0.0) if math.isfinite(figure)]
    scale = _Scale(figures, len(figures), bounds)
    if not scale.known:
        return ""
    bands = [] if change.metric == "errors" else [scale.band(-comparison.threshold, comparison.threshold, "same")]
    bands.append(scale.band(change.low, change.high, "interval"))
    points = [
        scale.point(index, figure, "pair", f"pair {index + 1}: {words.moved(change, figure)}")
        for index, figure in enumerate(figures)
    ]
    lines = [scale.line(0.0, "zero"), scale.line(change.change, "estimate")]
    ticks = scale.ticks(lambda figure: words.moved(change, figure))
    return _svg(f"change of {words.title(change)}, pair by pair", [*bands, *ticks, *points, *lines])


class _Scale:
    """Places figures: pairs from left to right, the middle of the figures from bottom to top."""

    def __init__(self, figures: Sequence[float], count: int, bounds: Sequence[float] = ()) -> None:
        finite = sorted(figure for figure in figures if math.isfinite(figure))
        self.known = bool(finite)
        cut = int(len(finite) * (1 - _SHOWN) / 2)
        inner = [*finite[cut : len(finite) - cut], *bounds] or [0.0]
        low, high = min(inner), max(inner)
        margin = _MARGIN * (high - low) or abs(high) * _MARGIN or 1.0
        self._low, self._high = low - margin, high + margin
        self._step = (WIDTH - _LEFT - _RIGHT) / max(count, 1)

    def point(self, index: int, figure: float, name: str, title: str) -> str:
        if math.isnan(figure):
            return ""
        x = _LEFT + (index + 0.5) * self._step
        return (
            f'<circle class="{name}" cx="{x:.1f}" cy="{self._y(figure):.1f}" r="2.6">'
            f"<title>{escape(title)}</title></circle>"
        )

    def line(self, figure: float, name: str) -> str:
        if not math.isfinite(figure):
            return ""
        y = self._y(figure)
        return f'<line class="{name}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'

    def band(self, low: float, high: float, name: str) -> str:
        if math.isnan(low) or math.isnan(high):
            return ""
        top, bottom = self._y(high), self._y(low)
        height = max(bottom - top, 1.0)
        return (
            f'<rect class="{name}" x="{_LEFT}" y="{top:.1f}" width="{WIDTH - _LEFT - _RIGHT}" height="{height:.1f}"/>'
        )

    def ticks(self, text: words.Write) -> list[str]:
        """Return three figures at the left, and what the axis below is."""
        rows = []
        for share in (0.1, 0.5, 0.9):
            figure = self._low + share * (self._high - self._low)
            y = self._y(figure)
            rows.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            rows.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text(figure))}</text>')
        rows.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">pairs, in their order</text>')
        return rows

    def _y(self, figure: float) -> float:
        share = (figure - self._low) / (self._high - self._low) if math.isfinite(figure) else float(figure > 0)
        return HEIGHT - _BOTTOM - min(1.0, max(0.0, share)) * (HEIGHT - _TOP - _BOTTOM)


def _figure(measured: Round, change: Change) -> float:
    """Return a round's figure of a metric; NaN where it has none."""
    if change.metric == "cpu":
        return measured.cpu
    kind = next((kind for kind in measured.kinds if kind.name == change.kind), None)
    if kind is None or not kind.offered:
        return math.nan
    if change.metric == "errors":
        return kind.failed / kind.offered
    figure: float = getattr(kind, change.metric)
    return figure


def _moved(pair: Pair, change: Change) -> float:
    before, after = _figure(pair.before, change), _figure(pair.after, change)
    if change.metric == "errors":
        return after - before
    return after / before - 1.0 if before > 0 and math.isfinite(before) else math.nan


def _svg(title: str, parts: Sequence[str]) -> str:
    opening = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
    return f"{opening}{''.join(parts)}</svg>"

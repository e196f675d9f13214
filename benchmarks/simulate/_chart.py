"""Lines over time, as SVG: one file each, to be read in light and dark pages alike."""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, isfinite, log10

from benchmarks.simulate._study import Chart

_WIDTH, _HEIGHT = 760, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 36, 32
_LEGEND = 18  # height of a line of the legend
_TICKS = 5
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, told apart by most people who see few colours; dashes tell them apart, too."""
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "12 4")
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333; }
.title { font-size: 14px; font-weight: 600; }
.grid { stroke: #ccc; } .shade { fill: #000; opacity: 0.07; } path { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd; } .grid { stroke: #444; } .shade { fill: #fff; opacity: 0.1; }
}
"""


def svg(chart: Chart) -> str:
    """Return a chart as an SVG document."""
    height = _HEIGHT + _LEGEND * len(chart.series)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(chart.title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="20">{escape(chart.title)}, {escape(chart.unit)}</text>',
        *_Drawing(chart).parts(),
        "</svg>\n",
    ]
    return "\n".join(parts)


class _Drawing:
    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        values = [value for line in chart.series.values() for value in line if isfinite(value)]
        most = min(max(values, default=1.0), chart.most)
        self._step = _nice(most / _TICKS)
        self._most = self._step * max(1, ceil(most / self._step))
        self._seconds = max(map(len, chart.series.values()))

    def parts(self) -> Iterator[str]:
        yield self._shade()
        yield from self._grid()
        for number, (name, values) in enumerate(self._chart.series.items()):
            look = f'stroke="{_COLOURS[number % len(_COLOURS)]}" stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
            yield f'<path d="{self._line(values)}" {look}/>'
            y = _HEIGHT + _LEGEND * number + 8
            yield f'<path d="M {_LEFT} {y} h 32" {look}/>'
            yield f'<text x="{_LEFT + 40}" y="{y + 4}">{escape(name)}</text>'

    def _shade(self) -> str:
        begin, end = map(self._x, self._chart.shaded)
        height = _HEIGHT - _TOP - _BOTTOM
        return f'<rect class="shade" x="{begin:.1f}" y="{_TOP}" width="{end - begin:.1f}" height="{height}"/>'

    def _grid(self) -> Iterator[str]:
        value = 0.0
        while value <= self._most:
            y = self._y(value)
            yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
            value = round(value + self._step, 9)
        for second in range(0, self._seconds + 1, max(1, round(_nice(self._seconds / _TICKS)))):
            yield f'<text x="{self._x(second):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{second} s</text>'

    def _line(self, values: Sequence[float]) -> str:
        points = [f"{self._x(second + 0.5):.1f} {self._y(value):.1f}" for second, value in enumerate(values)]
        return f"M {' L '.join(points)}"

    def _x(self, second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / self._seconds

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(value, self._most) / self._most


def _nice(value: float) -> float:
    """Return the next number above that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** int(log10(value) // 1) if value > 0.0 else 1.0
    return next(power * times for times in (1.0, 2.0, 5.0, 10.0) if value <= power * times)

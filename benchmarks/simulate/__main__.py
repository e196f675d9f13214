"""`python -m benchmarks.simulate`."""

from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.simulate import _balancing, _limits, _storm
from benchmarks.simulate._chart import svg
from benchmarks.simulate._study import Study

_STUDIES: Mapping[str, Callable[[int, int], Study]] = {
    "storm": _storm.study,
    "balancing": _balancing.study,
    "limits": _limits.study,
}
app = typer.Typer(add_completion=False)


@app.command(help="Simulate what many instances do to each other, each by its own policies.")
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[STUDY]...", help=f"Of {', '.join(_STUDIES)}.")] = None,
    instances: Annotated[int, typer.Option(help="How many there are.", min=1, max=100_000)] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed is the same world.")] = 1,
    charts: Annotated[Path | None, typer.Option(help="Write charts into this folder, as SVG.", file_okay=False)] = None,
    json: Annotated[Path | None, typer.Option(help="Write all of it into this file.", dir_okay=False)] = None,
) -> None:
    console = Console()
    for name in names or []:
        if name not in _STUDIES:
            raise typer.BadParameter(f"there is no study {name!r}; there are {', '.join(_STUDIES)}")
    studies = []
    for name in names or _STUDIES:
        studies.append(_STUDIES[name](instances, seed))
        _print(console, studies[-1])
    if charts is not None:
        charts.mkdir(parents=True, exist_ok=True)
        for chart in (chart for study in studies for chart in study.charts):
            (charts / f"{chart.name}.svg").write_text(svg(chart), encoding="utf-8")
    if json is not None:
        found = {"instances": instances, "seed": seed, "studies": studies}  # in which null is "never"
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def _print(console: Console, study: Study) -> None:
    table = Table(title=study.about, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in study.columns:
        table.add_column(column, justify="right" if column else "left")
    for name, *values in study.rows:
        table.add_row(name, *(_figure(value) for value in values))
    console.print(table)


def _figure(value: float) -> str:
    return "never" if value == inf else f"{value:,.0f}" if value >= 1000.0 else f"{value:.3g}"


if __name__ == "__main__":
    app()

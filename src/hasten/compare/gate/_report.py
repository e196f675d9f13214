"""What the gate has found, in the forms that terminals and CI read.

Sources: GitHub's workflow commands (Workflow commands for GitHub Actions, "Setting an error message"); JUnit XML as
Jenkins and GitLab read it.
"""

import math
import sys
from collections.abc import Iterator
from xml.etree import ElementTree

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hasten._core.durations import format_duration
from hasten.compare.gate._gate import GateResult
from hasten.compare.gate._objectives import Judged, Outcome

COLUMNS = ("request", "metric", "at most", "measured", "95% interval", "")
_STYLES = {Outcome.HOLDS: "green", Outcome.BROKEN: "bold red", Outcome.UNDECIDED: "yellow"}
_PIPE_WIDTH = 100  # columns where there is no terminal to ask


def headline(result: GateResult) -> str:
    """Return what has come out, in one line."""
    judged = (*result.objectives, *result.changes)
    counts = {outcome: sum(one.outcome is outcome for one in judged) for outcome in Outcome}
    if not judged:
        return "figures written"
    if result.outcome is Outcome.HOLDS:
        return f"all {len(judged)} hold" if len(judged) > 1 else "it holds"
    words = {Outcome.BROKEN: "broken", Outcome.UNDECIDED: "undecided", Outcome.HOLDS: "hold"}
    if counts[Outcome.HOLDS] == 1:
        words[Outcome.HOLDS] = "holds"
    said = [f"{counts[one]} {word}" for one, word in words.items() if counts[one]]
    return f"of {len(judged)}, {', '.join(said)}"


def following(result: GateResult) -> str:
    """Return what to do next."""
    if result.outcome is Outcome.BROKEN:
        broken = next(one for one in (*result.objectives, *result.changes) if one.outcome is Outcome.BROKEN)
        return f"hasten doctor names what {broken.kind if broken.kind != 'all' else 'each request'} waits for"
    if result.outcome is Outcome.UNDECIDED:
        return "a longer duration in the plan, or a larger --budget, decides what is open"
    if not result.objectives and not result.changes:
        return "commit the file, and name it as baseline in [tool.hasten.gate]"
    return "nothing: keep it in CI"


def tables(result: GateResult) -> Iterator[tuple[str, list[tuple[Judged, tuple[str, ...]]]]]:
    """Yield each part's title with what was judged there, and its row of texts."""
    if result.objectives:
        yield "objectives", [(one, _absolute(one)) for one in result.objectives]
    if result.changes:
        yield f"against {result.against}", [(one, _relative(one)) for one in result.changes]


def _absolute(judged: Judged) -> tuple[str, ...]:
    def text(value: float) -> str:
        if math.isnan(value):
            return "-"
        if judged.metric == "errors":
            return f"{value:.3g}" if math.isinf(value) else f"{100 * value:.3g}%"
        return "never" if math.isinf(value) else format_duration(value)

    return _row(judged, text(judged.limit), text(judged.measured), text(judged.low), text(judged.high))


def _relative(judged: Judged) -> tuple[str, ...]:
    def text(value: float) -> str:
        if math.isnan(value):
            return "-"
        if judged.metric == "errors":
            return f"{100 * value:+.2f} pt"
        return f"{value:+.1%}"

    return _row(judged, text(judged.limit), text(judged.measured), text(judged.low), text(judged.high))


def _row(judged: Judged, limit: str, measured: str, low: str, high: str) -> tuple[str, ...]:
    interval = f"{low} to {high}" if low != high else "-"
    if judged.low == -1.0 and judged.high == math.inf:
        interval = "too few rounds"
    return judged.kind, judged.metric, limit, measured, interval, judged.outcome.value


def print_gate(result: GateResult, console: Console) -> None:
    """Print verdict, tables, and what to do next."""
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(Text.assemble((result.name, "bold"), ": ", (headline(result), _STYLES[result.outcome])))
    for title, rows in tables(result):
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for number, name in enumerate(COLUMNS):
            table.add_column(name, justify="right" if 1 < number < 5 else "left", no_wrap=number > 0)
        for judged, cells in rows:
            texts = [Text(cell) for cell in cells]
            texts[-1].stylize(_STYLES[judged.outcome])
            table.add_row(*texts)
        console.print(table)
    console.print(Text.assemble(("next:", "bold"), " ", following(result)), soft_wrap=True)


def markdown(result: GateResult) -> str:
    """Return the report for a pull request's comment."""
    lines = [f"### hasten gate: {_plain(result.name)}: {headline(result)}", ""]
    for title, rows in tables(result):
        lines += [f"**{_plain(title)}**", "", f"| {' | '.join(COLUMNS)} |", "| --- | --- | ---: | ---: | ---: | --- |"]
        for judged, cells in rows:
            marked = [_plain(cell) for cell in cells]
            marked[-1] = marked[-1] if judged.outcome is Outcome.HOLDS else f"**{marked[-1]}**"
            lines.append(f"| {' | '.join(marked)} |")
        lines.append("")
    return "\n".join([*lines, f"next: {_plain(following(result))}", ""])


def _plain(text: str) -> str:
    """Return a text with what Markdown and HTML would read taken as it stands."""
    for sign in "\\`*_{}[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")


def github(result: GateResult) -> str:
    """Return annotations of GitHub Actions: an error for what is broken, a warning for what is open."""
    lines = []
    for title, rows in tables(result):
        for judged, (kind, metric, limit, measured, interval, _) in rows:
            if judged.outcome is not Outcome.HOLDS:
                level = "error" if judged.outcome is Outcome.BROKEN else "warning"
                said = f"{metric} {measured} ({interval}), at most {limit} ({title})"
                lines.append(f"::{level} title={_property(f'{kind}: {metric}')}::{_data(said)}")
    return "\n".join([*lines, f"hasten gate: {result.name}: {headline(result)}", ""])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def junit(result: GateResult) -> str:
    """Return one test case for each limit: a failure if it is broken, skipped if it is open."""
    judged = (*result.objectives, *result.changes)
    suite = ElementTree.Element(
        "testsuite",
        name="hasten gate",
        tests=str(len(judged)),
        failures=str(sum(one.outcome is Outcome.BROKEN for one in judged)),
        skipped=str(sum(one.outcome is Outcome.UNDECIDED for one in judged)),
        errors="0",
    )
    for title, rows in tables(result):
        for one, (kind, metric, limit, measured, interval, _) in rows:
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(title), name=_xml(f"{kind} {metric}"))
            said = f"{measured} ({interval}), at most {limit}"
            if one.outcome is Outcome.BROKEN:
                ElementTree.SubElement(case, "failure", message=_xml(said))
            elif one.outcome is Outcome.UNDECIDED:
                ElementTree.SubElement(case, "skipped", message=_xml(said))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Return a text without what XML 1.0 cannot hold."""
    return "".join(sign if sign >= " " and sign.isprintable() else "?" for sign in text)


def write(result: GateResult, form: str) -> None:
    """Write a form that is no terminal's to stdout."""
    sys.stdout.write({"markdown": markdown, "github": github, "junit": junit}[form](result))

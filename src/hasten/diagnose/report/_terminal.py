"""The report for a terminal: where the time goes per endpoint, the findings, what the figures are worth.

Every kind of time has a colour and a glyph of its own, so that a bar can be read without colours too.
"""

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hasten._core.durations import format_duration
from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary, KindSummary, LineSummary
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.report import _words as words
from hasten.diagnose.report._report import Report
from hasten.ledger import Kind

_LOOKS = {
    Kind.COMPUTING: ("█", "blue"),
    Kind.BLOCKING: ("▓", "red"),
    Kind.WAITING: ("░", "cyan"),
    Kind.CACHE: ("▤", "bright_cyan"),
    Kind.HELD: ("▒", "magenta"),
    Kind.QUEUED: ("▪", "yellow"),
    Kind.THREAD_QUEUED: ("┅", "bright_yellow"),
    Kind.THREAD: ("▄", "green"),
    Kind.COLLECTING: ("◆", "bright_magenta"),
    Kind.PREEMPTED: ("▚", "bright_blue"),
    Kind.UNREAD: ("▁", "bright_red"),
    Kind.UNEXPLAINED: ("·", "bright_black"),
}
_SEVERITIES = {Severity.HIGH: "bold red", Severity.MEDIUM: "bold yellow", Severity.LOW: "bold cyan"}
_TOP_LINES = 5
_LABEL = 13  # columns of "slowest 1 %" and the space around it
_WIDEST_BAR = 84


def print_report(report: Report, console: Console, base: Path) -> None:
    """Print the report.

    Args:
      base: Directory that paths are shown relative to.
    """
    for part in _parts(report, base, console.width):
        console.print(part, soft_wrap=True)


def _parts(report: Report, base: Path, width: int) -> Iterator[Text]:
    diagnosis = report.diagnosis
    yield _section("where the time goes", width)
    for endpoint in diagnosis.endpoints:
        yield _endpoint(endpoint, diagnosis, base, width)
    if not diagnosis.endpoints:
        yield Text("no requests were recorded\n")
    yield _section(words.count(len(diagnosis.findings), "finding"), width)
    for number, finding in enumerate(diagnosis.findings, start=1):
        yield _finding(number, finding, diagnosis, base, width).append("\n")
    for sentence in words.trust(report):
        yield Text(_hanging(sentence, 0, width), style="dim")
    yield Text.assemble(("next:", "bold"), " ", words.next_step(report, base))


def _section(title: str, width: int) -> Text:
    return Text.assemble((title, "bold"), " ", ("─" * max(width - len(title) - 1, 0), "bright_black"))


def _endpoint(endpoint: EndpointSummary, diagnosis: Diagnosis, base: Path, width: int) -> Text:
    bars = [_bar("mean", endpoint, width), _bar("slowest 1 %", endpoint, width)]
    told = words.told_apart(endpoint.lines[:_TOP_LINES], base)
    lines = [_top_line(line, said, base, width) for line, said in told]
    parts = [_headline(endpoint, diagnosis), *(bar for bar in bars if bar), _legend(endpoint, width), *lines]
    return Text("\n").join(parts).append("\n")


def _headline(endpoint: EndpointSummary, diagnosis: Diagnosis) -> Text:
    text = Text.assemble((words.heading(endpoint, diagnosis), "bold"))
    text.append(f"  {words.count(endpoint.requests, 'request')}")
    text.append(f"  p50 {format_duration(endpoint.p50)}  p99 ")
    text.append(format_duration(endpoint.p99), style="bold")
    if endpoint.failed:
        text.append(f"  {endpoint.failed:,} failed", style="bold red")
    return text


def _bar(label: str, endpoint: EndpointSummary, width: int) -> Text | None:
    """Return one stacked bar, its label before it; None when there is no time to show."""
    tail = label != "mean"
    seconds = [kind.tail if tail else kind.mean for kind in endpoint.kinds]
    if sum(seconds) <= 0:
        return None
    text = Text(f"  {label:<{_LABEL - 2}} ")
    cells = min(width - _LABEL - 12, _WIDEST_BAR)
    for kind, number in zip(endpoint.kinds, apportion(seconds, max(cells, 10)), strict=True):
        glyph, colour = _LOOKS[kind.kind]
        text.append(glyph * number, style=colour)
    text.append(f" {format_duration(sum(seconds))}", style="bold")
    return text


def apportion(amounts: list[float], cells: int) -> list[int]:
    """Return whole cells in proportion to `amounts`; they sum to `cells` (largest remainder method).

    Args:
      amounts: Non-negative, at least one above 0.
    """
    total = sum(amounts)
    exact = [amount / total * cells for amount in amounts]
    whole = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(amounts)), key=lambda index: whole[index] - exact[index])
    for index in by_remainder[: cells - sum(whole)]:
        whole[index] += 1
    return whole


def _legend(endpoint: EndpointSummary, width: int) -> Text:
    """Return what the glyphs mean, with shares of mean and slowest; no entry breaks within itself."""
    mean = sum(kind.mean for kind in endpoint.kinds) or 1.0
    tail = sum(kind.tail for kind in endpoint.kinds) or 1.0
    entries = [
        _legend_entry(kind, kind.mean / mean, kind.tail / tail)
        for kind in endpoint.kinds
        if kind.mean / mean >= 0.005 or kind.tail / tail >= 0.005
    ]
    entries.append(Text("(mean | slowest)", style="dim"))
    return _packed(entries, width)


def _legend_entry(kind: KindSummary, mean: float, tail: float) -> Text:
    glyph, colour = _LOOKS[kind.kind]
    return Text.assemble(
        (glyph, colour), f" {words.KIND_WORDS[kind.kind]} {words.percent(mean)} | {words.percent(tail)}"
    )


def _packed(entries: list[Text], width: int) -> Text:
    """Return the entries on as few lines as they fit, under the bars."""
    indent = " " * (_LABEL + 1)
    text, column = Text(indent), len(indent)
    for entry in entries:
        if column > len(indent) and column + len(entry) > width:
            text.rstrip()
            text.append("\n" + indent)
            column = len(indent)
        text.append_text(entry).append("   ")
        column += len(entry) + 3
    text.rstrip()
    return text


def _top_line(line: LineSummary, said: str, base: Path, width: int) -> Text:
    """Return share, seconds, what and where; the place goes to a line of its own when both do not fit."""
    start = f"  {words.percent(line.share):>5} {format_duration(line.mean):>8}  "
    if line.kind in (Kind.WAITING, Kind.CACHE) and line.count >= 1.5:
        said += f", {words.amount(line.count)} times"
    text = Text.assemble(start, (said, _LOOKS[line.kind][1]))
    where = words.site_place(line.kind, line.site, base)
    if where:
        fits = len(text) + 2 + len(where) <= width
        text.append("  " if fits else "\n" + " " * len(start)).append(where, style="dim")
    return text


def _finding(number: int, finding: Finding, diagnosis: Diagnosis, base: Path, width: int) -> Text:
    style = _SEVERITIES[finding.severity]
    start = f"{number:>2}. "
    text = Text.assemble(start, (finding.code, style), " ", (str(finding.severity), style), "  ")
    text.append(_hanging(finding.title, len(text), width), style="bold")
    for label, value in _facts(finding, diagnosis, base):
        if value:
            text.append(f"\n{'':{len(start)}}{label:<7}", style="dim")
            text.append(_hanging(value, len(start) + 7, width), style="bold" if label == "fix" else "")
    return text


def _hanging(value: str, indent: int, width: int) -> str:
    """Return the text wrapped right of `indent` columns; paths and names are never broken."""
    lines = textwrap.wrap(value, max(width - indent, 20), break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def _facts(finding: Finding, diagnosis: Diagnosis, base: Path) -> Iterator[tuple[str, str]]:
    yield "at", f"{words.place(finding.file, finding.line, base)}  {finding.function}"
    yield "costs", words.cost(finding, diagnosis)
    yield "hurts", words.harm(finding, diagnosis)
    yield "proof", finding.proof
    yield "fix", finding.fix
    if finding.prediction is not None:
        yield "then", words.outcome(finding.prediction)

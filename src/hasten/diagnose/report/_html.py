"""The report as one HTML page: no script, no asset; for a desk, a phone, paper, keyboard and ear."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from hasten._core.durations import format_duration
from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary
from hasten.diagnose._finding import Finding, Severity
from hasten.diagnose.report import _words as words
from hasten.diagnose.report._bars import key, stacked
from hasten.diagnose.report._cards import endpoint_card, finding_card
from hasten.diagnose.report._markup import Markup, element, joined
from hasten.diagnose.report._report import Report

_SHORT = 4
"""Findings up to which a list of them would not be shorter than what it lists."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html_page(report: Report, base: Path, explanations: Mapping[str, str]) -> str:
    """Return the whole page.

    Args:
      base: Directory that paths are shown relative to.
      explanations: By code, why that finding costs time; codes without one are shown without.
    """
    diagnosis = report.diagnosis
    main = element(
        "main",
        _overview(diagnosis),
        _findings(diagnosis, base, explanations),
        _endpoints(diagnosis, base),
        _trust(report),
        id="content",
    )
    skip = element("a", "Skip to the result", href="#content", class_="skip")
    body = element("body", skip, _header(report, base), main, _footer(report, base))
    return f'<!doctype html>\n<html lang="en">{_head(report)}{body}</html>\n'


def _head(report: Report) -> Markup:
    css = files("hasten.diagnose.report").joinpath("page.css").read_text(encoding="utf-8")
    services = ", ".join(report.diagnosis.services)
    return joined(
        Markup('<head><meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", f"hasten doctor: {services}" if services else "hasten doctor"),
        element("style", Markup(css)),
        Markup("</head>"),
    )


def _header(report: Report, base: Path) -> Markup:
    return element(
        "header",
        element("div", element("b", "hasten"), " doctor", class_="brand"),
        element("h1", _verdict(report.diagnosis, base)),
        element("p", _circumstances(report), class_="soft"),
        element("dl", *_tiles(report), class_="tiles"),
    )


def _verdict(diagnosis: Diagnosis, base: Path) -> Markup:
    """Return the answer in one sentence: the worst cause, its place and its price."""
    if not diagnosis.endpoints:
        return joined("No requests were recorded")
    if not diagnosis.findings:
        return joined("Nothing found that is worth a fix at this load")
    worst = diagnosis.findings[0]
    place = element("code", words.place(worst.file, worst.line, base))
    if not words.cost(worst, diagnosis):
        return joined(worst.title, " at ", place)
    share, basis = max((worst.share_p99, "p99"), (worst.share_mean, "mean time"))
    endpoint = element("code", words.named(worst.service, worst.endpoint, diagnosis))
    return joined(place, f" costs {words.percent(share)} of the {basis} of ", endpoint)


def _circumstances(report: Report) -> str:
    sentences = [f"Recorded: {', '.join(report.diagnosis.services)}."] if report.diagnosis.services else []
    load = report.load
    if load is not None:
        warmup = f" after {format_duration(load.warmup)} of warm-up" if load.warmup else ""
        offered = f"{load.rate:g} requests/s offered for {format_duration(load.seconds)}"
        sentences.append(f"Load: {offered}{warmup}, {load.sent:,} sent, {load.answered:,} answered as expected.")
    return " ".join(sentences + [f"{failure.capitalize()}." for failure in words.failures(report)])


def _tiles(report: Report) -> list[Markup]:
    diagnosis = report.diagnosis
    high = sum(finding.severity is Severity.HIGH for finding in diagnosis.findings)
    tiles = [
        _tile("Findings", f"{len(diagnosis.findings)}", f"{high} of high severity"),
        _tile(
            "Requests recorded",
            f"{sum(endpoint.requests for endpoint in diagnosis.endpoints):,}",
            f"on {words.count(len(diagnosis.endpoints), 'endpoint')}",
        ),
    ]
    if diagnosis.endpoints:
        slowest = max(diagnosis.endpoints, key=lambda endpoint: endpoint.p99)
        tiles.append(_tile("Slowest p99", format_duration(slowest.p99), words.heading(slowest, diagnosis)))
        median, lowest = words.coverage(diagnosis.endpoints)
        tiles.append(
            _tile(
                "Time explained",
                words.precise_percent(median),
                f"{words.precise_percent(lowest)} at the 5th percentile",
            )
        )
    if report.gap is not None:
        p99 = f"{format_duration(max(report.gap.p99, 0.0))} at p99"
        tiles.append(_tile("Client sees more", format_duration(max(report.gap.p50, 0.0)), p99))
    return tiles


def _tile(name: str, figure: str, beside: str) -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", figure, class_="figure"),
        element("dd", beside, class_="soft small"),
        class_="tile",
    )


def _overview(diagnosis: Diagnosis) -> Markup | None:
    if not diagnosis.endpoints:
        return None
    names = (
        ("endpoint", "wide"),
        ("requests", "number"),
        ("p50", "number"),
        ("p99", "number"),
        ("mean time", "wide"),
    )
    head = element("tr", *(element("th", name, class_=style, scope="col") for name, style in names))
    rows = [_overview_row(number, endpoint, diagnosis) for number, endpoint in enumerate(diagnosis.endpoints, start=1)]
    table = element("table", element("thead", head), element("tbody", *rows), class_="overview stacks")
    return joined(element("h2", "Where the time goes"), element("div", table, key(diagnosis), class_="card"))


def _overview_row(number: int, endpoint: EndpointSummary, diagnosis: Diagnosis) -> Markup:
    name = words.heading(endpoint, diagnosis)
    link = element("a", name, href=f"#endpoint-{number}")
    bar = stacked(f"mean of {name}", [(kind.kind, kind.mean) for kind in endpoint.kinds], thin=True)
    figures = (
        ("requests", f"{endpoint.requests:,}"),
        ("p50", format_duration(endpoint.p50)),
        ("p99", format_duration(endpoint.p99)),
    )
    numbers = [element("td", value, class_="number", data_name=label) for label, value in figures]
    return element("tr", element("td", link, class_="wide"), *numbers, element("td", bar, class_="wide track"))


def _findings(diagnosis: Diagnosis, base: Path, explanations: Mapping[str, str]) -> Markup:
    if not diagnosis.findings:
        none = element("p", "No rule found a cause worth a fix in these recordings.", class_="card")
        return joined(element("h2", "Findings"), none)
    unexplained = dict(explanations)  # each code is explained once, where it stands first
    cards = [
        finding_card(finding, number, diagnosis, base, unexplained.pop(finding.code, ""))
        for number, finding in enumerate(diagnosis.findings, start=1)
    ]
    index = _index(diagnosis, base) if len(cards) > _SHORT else None
    return joined(element("h2", "Findings, worst first"), index, *cards)


def _index(diagnosis: Diagnosis, base: Path) -> Markup:
    """Return the findings as a table of links to their cards."""
    names = (("finding", "wide"), ("place", "wide"), ("severity", ""), ("p99", "number"), ("mean", "number"))
    head = element("tr", *(element("th", name, class_=style or None, scope="col") for name, style in names))
    rows = [_index_row(number, finding, base) for number, finding in enumerate(diagnosis.findings, start=1)]
    table = element("table", element("thead", head), element("tbody", *rows), class_="index stacks")
    return element("div", table, class_="card")


def _index_row(number: int, finding: Finding, base: Path) -> Markup:
    link = element("a", f"{finding.code} {finding.title}", href=f"#finding-{number}")
    severity = element("span", str(finding.severity), class_="level")
    shares = (("p99", finding.share_p99), ("mean", finding.share_mean))
    return element(
        "tr",
        element("td", link, class_="wide"),
        element("td", element("code", words.place(finding.file, finding.line, base)), class_="wide"),
        element("td", severity, class_=str(finding.severity)),
        *(element("td", words.percent(share), class_="number", data_name=name) for name, share in shares),
    )


def _endpoints(diagnosis: Diagnosis, base: Path) -> Markup | None:
    cards = [
        endpoint_card(endpoint, number, diagnosis, base) for number, endpoint in enumerate(diagnosis.endpoints, start=1)
    ]
    return joined(element("h2", "Each endpoint"), *cards) if cards else None


def _trust(report: Report) -> Markup | None:
    sentences = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in words.trust(report)]
    if not sentences:
        return None
    items = element("ul", *(element("li", sentence) for sentence in sentences), class_="trust")
    return joined(element("h2", "How far to trust these figures"), element("div", items, class_="card"))


def _footer(report: Report, base: Path) -> Markup:
    where = report.environment
    made = f"Made {where.made} by hasten {where.hasten} on Python {where.python}, {where.system}"
    cores = words.count(where.cpus, "core")
    hint = joined(element("b", "Next: "), words.next_step(report, base))
    return element("footer", element("p", hint), element("p", f"{made}, {cores}."))

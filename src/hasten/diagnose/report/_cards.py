"""The cards of the HTML report: one for each finding, one for each endpoint."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hasten._core.durations import format_duration
from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary, LineSummary
from hasten.diagnose._finding import Finding, Prediction
from hasten.diagnose.report import _words as words
from hasten.diagnose.report._bars import bars, legend, meters, swatch
from hasten.diagnose.report._markup import Markup, element, joined
from hasten.ledger import Kind

_OPEN_LINES = 5


def finding_card(finding: Finding, number: int, diagnosis: Diagnosis, base: Path, explanation: str) -> Markup:
    """Return one finding: what, where, its cost, who pays, the proof, the fix and its gain."""
    title = element("h3", element("span", finding.code, class_="code"), finding.title)
    badge = element("span", f"{finding.severity} severity", class_="badge")
    place = element("code", words.place(finding.file, finding.line, base))
    where = element("p", place, " in ", element("code", finding.function), class_="where")
    return element(
        "article",
        element("div", title, badge, class_="head"),
        where,
        _figures(finding, diagnosis),
        _facts(_said(finding, diagnosis, explanation)),
        class_=f"card finding {finding.severity}",
        id=f"finding-{number}",
    )


def _figures(finding: Finding, diagnosis: Diagnosis) -> Markup | None:
    """Return the shares beside the prediction; None for a finding without a price."""
    if not words.cost(finding, diagnosis):
        return None
    prediction = _prediction(finding.prediction) if finding.prediction is not None else None
    return element("div", _shares(finding, diagnosis), prediction, class_="two")


def _shares(finding: Finding, diagnosis: Diagnosis) -> Markup:
    shares = meters(
        (
            ("p99", finding.share_p99, words.percent(finding.share_p99), ""),
            ("mean", finding.share_mean, words.percent(finding.share_mean), ""),
        )
    )
    each = element("p", f"{format_duration(finding.seconds)} a request", class_="soft small")
    return element("div", element("h4", "Share of ", _payer(finding, diagnosis)), shares, each)


def _payer(finding: Finding, diagnosis: Diagnosis) -> Markup:
    """Return the name of the endpoint that pays most, linked to its card when there is one."""
    name = element("code", words.named(finding.service, finding.endpoint, diagnosis))
    for number, endpoint in enumerate(diagnosis.endpoints, start=1):
        if (endpoint.service, endpoint.endpoint) == (finding.service, finding.endpoint):
            return element("a", name, href=f"#endpoint-{number}")
    return name


def _prediction(prediction: Prediction) -> Markup:
    before, after = prediction.p50_before, prediction.p50_after
    widest = max(before, after) or 1.0
    rows = (
        ("now", before / widest, format_duration(before), ""),
        ("fixed", after / widest, format_duration(after), "after"),
    )
    p99 = element("p", f"an estimate by replay; p99 after the fix {words.p99_range(prediction)}", class_="soft small")
    return element("div", element("h4", "Predicted p50"), meters(rows), p99)


def _said(finding: Finding, diagnosis: Diagnosis, explanation: str) -> Iterable[tuple[str, str, str]]:
    """Yield (label, text, CSS class) of what a finding says in words."""
    harm = words.harm(finding, diagnosis)
    facts = (
        ("Who pays", harm, ""),
        ("Why", explanation, ""),
        ("Proof", finding.proof, ""),
        ("Fix", finding.fix, "fix"),
    )
    return (fact for fact in facts if fact[1])


def _facts(rows: Iterable[tuple[str, str, str]]) -> Markup:
    cells: list[Markup] = []
    for label, text, style in rows:
        cells.append(element("dt", label, class_=f"to-{style}" if style else None))
        cells.append(element("dd", text, class_=style or None))
    return element("dl", *cells, class_="facts")


def endpoint_card(endpoint: EndpointSummary, number: int, diagnosis: Diagnosis, base: Path) -> Markup:
    """Return one endpoint: its percentiles, where its time goes by kind, and by line of code."""
    told = list(words.told_apart(endpoint.lines, base))
    shown, rest = told[:_OPEN_LINES], told[_OPEN_LINES:]
    requests = element("span", words.count(endpoint.requests, "request"), class_="soft")
    return element(
        "section",
        element("div", element("h3", words.heading(endpoint, diagnosis)), requests, class_="head"),
        _percentiles(endpoint),
        bars(endpoint),
        legend(endpoint),
        _lines(shown, base) if shown else None,
        _more(rest, base) if rest else None,
        class_="card",
        id=f"endpoint-{number}",
    )


def _percentiles(endpoint: EndpointSummary) -> Markup:
    figures = [
        ("mean", format_duration(endpoint.mean)),
        ("p50", format_duration(endpoint.p50)),
        ("p90", format_duration(endpoint.p90)),
        ("p99", format_duration(endpoint.p99)),
        ("largest", format_duration(endpoint.largest)),
        ("explained", words.precise_percent(endpoint.coverage_median)),
    ]
    if endpoint.failed:
        figures.append(("failed", f"{endpoint.failed:,}"))
    groups = [element("div", element("dt", name), element("dd", value)) for name, value in figures]
    return element("dl", *groups, class_="figures")


def _more(lines: Sequence[tuple[LineSummary, str]], base: Path) -> Markup:
    return element("details", element("summary", words.count(len(lines), "more line")), _lines(lines, base))


def _lines(lines: Sequence[tuple[LineSummary, str]], base: Path) -> Markup:
    names = (
        ("share", "number"),
        ("mean", "number"),
        ("p99", "number"),
        ("times", "number"),
        ("where it goes", "what"),
    )
    head = [element("th", name, class_=style, scope="col") for name, style in names]
    body = [_line(line, said, base) for line, said in lines]
    table = joined(element("thead", element("tr", *head)), element("tbody", *body))
    return element("table", table, class_="lines stacks")


def _line(line: LineSummary, said: str, base: Path) -> Markup:
    place = words.site_place(line.kind, line.site, base)
    what = element(
        "td",
        swatch(line.kind),
        said,
        element("span", element("code", place), class_="place") if place else None,
        class_="what wide",
    )
    cells = (
        ("share", words.percent(line.share)),
        ("mean", format_duration(line.mean)),
        ("p99", format_duration(line.p99)),
        ("times", words.amount(line.count) if line.kind is not Kind.UNREAD else ""),
    )
    numbers = [element("td", value, class_="number", data_name=name if value else None) for name, value in cells]
    return element("tr", *numbers, what)

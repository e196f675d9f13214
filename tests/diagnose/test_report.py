"""The doctor's reports: terminal, HTML page, GitHub annotations, JSON."""

import html.parser
import re
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary, KindSummary, LineSummary
from hasten.diagnose._finding import Finding, Prediction, Severity
from hasten.diagnose.report import (
    ClientGap,
    Environment,
    LoadSummary,
    Report,
    explanations,
    github_lines,
    html_page,
    print_report,
)
from hasten.diagnose.report import _words as words
from hasten.diagnose.report._terminal import _LOOKS, apportion
from hasten.diagnose.rules import RULES
from hasten.ledger import Kind, Site

BASE = Path("/srv/shop")
ENVIRONMENT = Environment(
    made="2026-03-02T10:00:00+00:00", hasten="0.1.0", python="3.11.7", system="Linux 6.1 x86_64", cpus=2
)
PRICING = Site("/srv/shop/app/pricing.py", 48, "price_of", "requests.get", "socket.recv_into")
REVIEWS = Site("/srv/shop/app/reviews.py", 112, "ReviewList.load", "httpx.AsyncClient.get", "asyncio.Event.wait")
REPORTS = Site("/srv/shop/app/reports.py", 31, "daily", "", "")


def line(kind: Kind, site: Site, mean: float, p99: float, share: float, count: float = 1.0) -> LineSummary:
    return LineSummary(kind=kind, site=site, mean=mean, p50=mean, p99=p99, share=share, count=count)


def product_endpoint() -> EndpointSummary:
    return EndpointSummary(
        service="storefront",
        endpoint="GET /products/{id}",
        requests=1600,
        failed=0,
        mean=0.0574,
        p50=0.041,
        p90=0.131,
        p99=0.812,
        largest=1.31,
        kinds=(
            KindSummary(Kind.COMPUTING, 0.0061, 0.011),
            KindSummary(Kind.BLOCKING, 0.0182, 0.031),
            KindSummary(Kind.WAITING, 0.0221, 0.102),
            KindSummary(Kind.HELD, 0.0071, 0.612),
            KindSummary(Kind.THREAD_QUEUED, 0.0012, 0.021),
            KindSummary(Kind.COLLECTING, 0.0004, 0.002),
            KindSummary(Kind.UNREAD, 0.0021, 0.031),
            KindSummary(Kind.UNEXPLAINED, 0.0002, 0.002),
        ),
        lines=(
            line(Kind.WAITING, REVIEWS, 0.0221, 0.102, 0.385, 9.0),
            line(Kind.BLOCKING, PRICING, 0.0182, 0.031, 0.317),
            line(Kind.HELD, REPORTS, 0.0071, 0.612, 0.124),
            line(
                Kind.COMPUTING,
                Site("/srv/shop/app/views.py", 77, "product_page", "json.dumps"),
                0.0061,
                0.011,
                0.106,
            ),
            line(Kind.UNREAD, Site(), 0.0021, 0.031, 0.037),
            line(Kind.THREAD_QUEUED, Site("/srv/shop/app/db.py", 9, "get_session"), 0.0012, 0.021, 0.021),
            line(Kind.COLLECTING, Site(), 0.0004, 0.002, 0.007),
            line(Kind.UNEXPLAINED, Site(), 0.0002, 0.002, 0.003),
        ),
        coverage_median=0.994,
        coverage_p5=0.971,
    )


def search_endpoint() -> EndpointSummary:
    return EndpointSummary(
        service="catalog",
        endpoint="GET /search",
        requests=400,
        failed=3,
        mean=0.0081,
        p50=0.0052,
        p90=0.011,
        p99=0.093,
        largest=0.2,
        kinds=(KindSummary(Kind.COMPUTING, 0.0041, 0.005), KindSummary(Kind.BLOCKING, 0.004, 0.088)),
        lines=(line(Kind.COMPUTING, Site("/srv/shop/app/search.py", 15, "search"), 0.0041, 0.005, 0.506),),
        coverage_median=0.99,
        coverage_p5=0.96,
    )


def blocking_finding() -> Finding:
    return Finding(
        code="HS101",
        title="A blocking call holds the event loop",
        severity=Severity.HIGH,
        file="/srv/shop/app/pricing.py",
        line=48,
        function="price_of",
        service="storefront",
        endpoint="GET /products/{id}",
        share_p99=0.614,
        share_mean=0.317,
        seconds=0.0182,
        hurt=1600,
        victims={"catalog GET /search": 300, "storefront POST /orders": 41},
        proof="The loop stood still in requests.get for 18.2 ms a request, 0.4 ms of it on the CPU.",
        fix="await an asynchronous client (httpx.AsyncClient) or hand the call to asyncio.to_thread",
        prediction=Prediction(0.041, 0.0152, 0.04, 0.061),
    )


def repeated_finding() -> Finding:
    return Finding(
        code="HS201",
        title="One call per item (N+1)",
        severity=Severity.MEDIUM,
        file="/srv/shop/app/reviews.py",
        line=112,
        function="ReviewList.load",
        service="storefront",
        endpoint="GET /products/{id}",
        share_p99=0.092,
        share_mean=0.385,
        seconds=0.0221,
        hurt=1588,
        proof="httpx.AsyncClient.get was awaited 9 times a request at this line, one after the other.",
        fix="ask for all of them in one call",
    )


def static_finding() -> Finding:
    return Finding(
        code="HS302",
        title="No timeout",
        severity=Severity.LOW,
        file="/srv/shop/app/client.py",
        line=5,
        function="<module>",
        fix="give the client a timeout",
    )


def full_report() -> Report:
    return Report(
        diagnosis=Diagnosis(
            services=("storefront", "catalog"),
            endpoints=(product_endpoint(), search_endpoint()),
            findings=(blocking_finding(), repeated_finding(), static_finding()),
        ),
        environment=ENVIRONMENT,
        load=LoadSummary(
            target="http://127.0.0.1:8000",
            rate=80.0,
            seconds=25.0,
            warmup=5.0,
            started=1000.0,
            sent=2000,
            answered=1997,
            errors={"500": 3},
            lateness_p99=0.00031,
        ),
        gap=ClientGap(1600, 0.0009, 0.0034),
        notes=("the kernel's record of unread time has steps of 4 ms",),
    )


def terminal(report: Report, width: int, *, colours: bool = False) -> str:
    text = StringIO()
    print_report(report, Console(file=text, width=width, force_terminal=colours, highlight=False), BASE)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_fits(width: int) -> None:
    """No line of the terminal report is wider than the terminal."""
    assert max(len(row) for row in terminal(full_report(), width).splitlines()) <= width


def test_terminal_says_all_of_a_finding() -> None:
    """A finding names its code, place, cost, victims, proof, fix and the gain as an estimate."""
    text = terminal(full_report(), 160)
    for part in (
        "HS101 high  A blocking call holds the event loop",
        "app/pricing.py:48  price_of",
        "61 % of the p99 and 32 % of the mean of storefront GET /products/{id} (18.2 ms a request)",
        "341 of other endpoints (300 of catalog GET /search, 41 of storefront POST /orders)",
        "The loop stood still in requests.get",
        "await an asynchronous client",
        "p50 41.0 ms -> 15.2 ms after the fix (estimate; p99 40.0-61.0 ms)",
    ):
        assert part in text


def test_terminal_says_where_the_time_goes() -> None:
    """An endpoint shows its percentiles and its largest lines in words, each with its place."""
    text = terminal(full_report(), 120)
    assert "storefront GET /products/{id}  1,600 requests  p50 41.0 ms  p99 812 ms" in text
    assert "waiting for httpx.AsyncClient.get, 9 times  app/reviews.py:112 ReviewList.load" in text
    assert "loop held by app/reports.py:31  daily" in text
    assert "not explained" not in text  # under half a percent


def test_terminal_without_colours_tells_kinds_apart() -> None:
    """A bar without colours has a glyph of its own for each kind, and the legend names it."""
    text = terminal(full_report(), 120)
    assert "\x1b" not in text
    assert "█ computing 11 % | 1 %" in text
    assert "▒ loop held by others 12 % | 75 %" in text
    assert re.search(r"slowest 1 % █+▓+░+▒+", text)


def test_terminal_ends_with_trust_and_next() -> None:
    """The report ends with how far to trust it, the failed requests among it, and one next line."""
    rows = terminal(full_report(), 160).splitlines()
    assert rows[-1] == "next: fix HS101 at app/pricing.py:48, then run hasten doctor again"
    assert "accounts explain 99.3 % of a request's time, 96.0 % at the 5th percentile" in rows
    gap = "the client sees 900 µs more than the accounts explain at p50, 3.40 ms at p99"
    assert f"{gap} (1,600 requests matched)" in rows
    assert "the load generator was late by 310 µs at p99" in rows
    assert "3 recorded requests failed (5xx or no answer)" in rows
    assert "the client counted 3 errors (500: 3)" in rows


def test_empty_reports() -> None:
    """Recordings without a request, and a diagnosis without a finding, read well in every format."""
    empty = Report(diagnosis=Diagnosis((), (), ()), environment=ENVIRONMENT)
    assert "no requests were recorded" in terminal(empty, 80)
    assert "No requests were recorded" in html_page(empty, BASE, {})
    healthy = Report(diagnosis=Diagnosis(("catalog",), (search_endpoint(),), ()), environment=ENVIRONMENT)
    text = terminal(healthy, 80)
    assert text.startswith("where the time goes")
    assert "\nGET /search  400 requests" in text  # one service needs no name
    assert "0 findings" in text
    assert "Nothing found that is worth a fix" in html_page(healthy, BASE, {})
    assert list(github_lines(healthy, BASE)) == []


@pytest.mark.parametrize(
    ("amounts", "cells", "expected"),
    [([1.0, 1.0, 1.0], 10, 10), ([1e-9, 1.0], 7, 7), ([3.0], 5, 5), ([0.0, 2.0], 3, 3)],
)
def test_bars_are_full(amounts: list[float], cells: int, expected: int) -> None:
    """The cells of a bar sum to its width whatever the amounts round to."""
    assert sum(apportion(amounts, cells)) == expected


class Page(html.parser.HTMLParser):
    """Collects the elements of a page and proves that they nest."""

    void = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.anchors |= {value or "" for name, value in attrs if name == "id"}
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_html_is_self_contained() -> None:
    """The page is well-formed, loads nothing, runs nothing, and each of its links leads to a place in it."""
    source = html_page(full_report(), BASE, {})
    page = Page(source)
    assert page.open == []
    assert not {"script", "img", "link", "iframe"} & set(page.seen)
    assert {link.removeprefix("#") for link in page.links} <= page.anchors
    assert all(link.startswith("#") for link in page.links)
    assert "http://" not in source.replace(ENVIRONMENT.made, "")
    assert "@import" not in source
    assert "url(" not in source


def test_html_says_what_the_terminal_says() -> None:
    """The page shows the verdict, totals, lines, findings with their explanation, prediction and trust."""
    text = Page(html_page(full_report(), BASE, {"HS101": "One blocked thread stops them all."})).text
    for part in (
        "app/pricing.py:48 costs 61 % of the p99 of storefront GET /products/{id}",
        "80 requests/s offered for 25.0 s after 5.00 s of warm-up",
        "One blocked thread stops them all.",
        "waiting for httpx.AsyncClient.get",
        "15.2 ms",
        "p99 after the fix 40.0-61.0 ms",
        "3 more lines",
        "Accounts explain 99.3 % of a request's time",
        "Next: fix HS101 at app/pricing.py:48",
    ):
        assert part in text


def test_html_escapes_everything() -> None:
    """Text from outside cannot become markup: paths, routes, functions, titles, services, notes."""
    hostile = '<script>alert("1")</script>&\'"'
    finding = msgspec.structs.replace(
        blocking_finding(),
        **dict.fromkeys(("title", "file", "function", "service", "endpoint", "proof", "fix"), hostile),
        victims={hostile: 1},
    )
    site = Site(hostile, 1, hostile, hostile, hostile)
    endpoint = msgspec.structs.replace(
        search_endpoint(), service=hostile, endpoint=hostile, lines=(line(Kind.HELD, site, 0.1, 0.1, 1.0),)
    )
    report = msgspec.structs.replace(
        full_report(), diagnosis=Diagnosis((hostile, "b"), (endpoint,), (finding,)), notes=(hostile,)
    )
    source = html_page(report, BASE, {"HS101": hostile})
    assert "<script" not in source
    assert Page(source).text.count(hostile) >= 12


def test_github_annotations() -> None:
    """Each finding is one warning at its line, message and properties escaped as GitHub wants it."""
    odd = msgspec.structs.replace(blocking_finding(), file="/srv/shop/a,b:c.py", proof="50% of it\nis waste")
    report = msgspec.structs.replace(
        full_report(),
        diagnosis=msgspec.structs.replace(full_report().diagnosis, findings=(odd, static_finding())),
    )
    first, second = github_lines(report, BASE)
    assert first.startswith("::warning file=a%2Cb%3Ac.py,line=48,title=HS101::A blocking call holds the event loop in ")
    assert "50%25 of it%0Ais waste%0AFix: await" in first
    place = "file=app/client.py,line=5,title=HS302"
    assert second == f"::warning {place}::No timeout in <module>.%0AFix: give the client a timeout"


def test_json_form() -> None:
    """The JSON form holds services, endpoints and findings at the top and their circumstances beside them."""
    form = msgspec.json.decode(msgspec.json.encode(full_report().to_json()))
    assert list(form) == ["services", "endpoints", "findings", "load", "client_gap", "environment", "notes"]
    assert form["findings"][0]["prediction"]["p50_after"] == 0.0152
    assert form["endpoints"][0]["lines"][0]["site"][:2] == ["/srv/shop/app/reviews.py", 112]
    assert form["load"]["errors"] == {"500": 3}
    assert form["environment"]["hasten"] == "0.1.0"


def test_every_kind_of_time_can_be_shown() -> None:
    """Each kind of time has words, a glyph of its own and a colour; each rule's code has an explanation."""
    style = html_page(full_report(), BASE, {}).partition("</style>")[0]
    for kind in Kind:
        assert kind in words.KIND_WORDS
        assert f".{kind} {{ background" in style
    assert len({glyph for glyph, _ in _LOOKS.values()}) == len(_LOOKS) == len(Kind)
    assert {rule.code for rule in RULES} <= explanations().keys()


def test_lines_that_read_alike_are_told_apart() -> None:
    """Two lines of one place and call say what they waited in; others do not."""
    lock = line(Kind.WAITING, msgspec.structs.replace(REVIEWS, leaf="anyio.Lock.acquire"), 0.01, 0.01, 0.1)
    endpoint = msgspec.structs.replace(product_endpoint(), lines=(*product_endpoint().lines[:2], lock))
    diagnosis = Diagnosis(("a",), (endpoint,), ())
    text = terminal(Report(diagnosis=diagnosis, environment=ENVIRONMENT), 120)
    assert "waiting for httpx.AsyncClient.get (asyncio.Event.wait), 9 times" in text
    assert "waiting for httpx.AsyncClient.get (anyio.Lock.acquire)  app/reviews.py:112" in text
    assert "blocking in requests.get  app" in text


def test_waits_for_a_cache_say_so() -> None:
    """A line says what was asked of which cache and how often; the legend says that it was a cache."""
    wait = line(Kind.CACHE, msgspec.structs.replace(REVIEWS, library="cache GET redis db:6379"), 0.02, 0.02, 0.5, 3.0)
    endpoint = msgspec.structs.replace(product_endpoint(), lines=(wait,), kinds=(KindSummary(Kind.CACHE, 0.02, 0.03),))
    text = terminal(Report(diagnosis=Diagnosis(("a",), (endpoint,), ()), environment=ENVIRONMENT), 120)
    assert "waiting for cache GET redis db:6379, 3 times  app/reviews.py:112" in text
    assert "waiting for the cache 100 % | 100 %" in text


def test_many_findings_have_an_index() -> None:
    """More than a handful of findings are listed first, each a link to its card; a code is explained once."""
    diagnosis = msgspec.structs.replace(full_report().diagnosis, findings=(blocking_finding(),) * 6)
    page = Page(html_page(msgspec.structs.replace(full_report(), diagnosis=diagnosis), BASE, {"HS101": "Why so."}))
    assert [link for link in page.links if link.startswith("#finding-")] == [f"#finding-{n}" for n in range(1, 7)]
    assert page.text.count("Why so.") == 1


def test_places() -> None:
    """Paths below the base are relative, of installed packages start at the package, others stay whole."""
    other = msgspec.structs.replace(static_finding(), file="/opt/x/y.py")
    package = msgspec.structs.replace(static_finding(), file="/v/lib/python3.11/site-packages/httpx/_client.py")
    diagnosis = msgspec.structs.replace(full_report().diagnosis, findings=(other, package))
    text = terminal(msgspec.structs.replace(full_report(), diagnosis=diagnosis), 100)
    assert "at     /opt/x/y.py:5  <module>" in text
    assert "at     httpx/_client.py:5  <module>" in text

"""The pictures of the HTML report: stacked bars of where time goes, their legend, meters of a share."""

from collections.abc import Iterable

from hasten._core.durations import format_duration
from hasten.diagnose._diagnosis import Diagnosis, EndpointSummary
from hasten.diagnose.report import _words as words
from hasten.diagnose.report._markup import Markup, element
from hasten.ledger import Kind

_VISIBLE = 0.005  # thin bars leave out what would be a hair
_LABELLED = 0.09  # a segment narrower than this share of the bar has no room for its figure


def stacked(name: str, amounts: Iterable[tuple[Kind, float]], *, thin: bool = False) -> Markup:
    """Return one bar whose segments are the seconds of each kind; screen readers hear all of them.

    Args:
      name: What the bar is of, said before its figures.
    """
    given = list(amounts)
    total = sum(seconds for _, seconds in given) or 1.0
    smallest = _VISIBLE if thin else 0.0
    shown = [(kind, seconds) for kind, seconds in given if seconds > smallest * total]
    segments = [_segment(kind, seconds, seconds / total, labelled=not thin) for kind, seconds in shown]
    heard = ", ".join(f"{words.KIND_WORDS[kind]} {words.percent(seconds / total)}" for kind, seconds in shown)
    return element(
        "div",
        *segments,
        class_="bar thin" if thin else "bar",
        role="img",
        aria_label=f"{name}: {heard or 'no time'}",
    )


def _segment(kind: Kind, seconds: float, share: float, *, labelled: bool) -> Markup:
    label = words.percent(share) if labelled and share >= _LABELLED else None
    tip = f"{words.KIND_WORDS[kind]}: {format_duration(seconds)}, {words.percent(share)}"
    return element("div", label, class_=f"segment {kind}", style=f"width:{share:.3%}", title=tip)


def bars(endpoint: EndpointSummary) -> Markup:
    """Return an endpoint's two bars: the mean of all requests and that of the slowest 1 %."""
    mean = [(kind.kind, kind.mean) for kind in endpoint.kinds]
    tail = [(kind.kind, kind.tail) for kind in endpoint.kinds]
    return element("div", _labelled("mean", mean), _labelled("slowest 1 %", tail), class_="bars")


def _labelled(label: str, amounts: list[tuple[Kind, float]]) -> Markup:
    total = format_duration(sum(seconds for _, seconds in amounts))
    return element(
        "div",
        element("span", label, class_="label"),
        stacked(f"{label}, {total}", amounts),
        element("span", total, class_="total"),
    )


def legend(endpoint: EndpointSummary) -> Markup:
    """Return what the colours mean, each with its share of the mean and of the slowest 1 %."""
    mean = sum(kind.mean for kind in endpoint.kinds) or 1.0
    tail = sum(kind.tail for kind in endpoint.kinds) or 1.0
    entries = [
        element(
            "li",
            swatch(kind.kind),
            f"{words.KIND_WORDS[kind.kind]} ",
            element(
                "span",
                f"{words.percent(kind.mean / mean)}, slowest {words.percent(kind.tail / tail)}",
                class_="soft",
            ),
        )
        for kind in endpoint.kinds
        if kind.mean > 0 or kind.tail > 0
    ]
    return element("ul", *entries, class_="legend")


def key(diagnosis: Diagnosis) -> Markup:
    """Return what the colours of all endpoints' bars mean."""
    present = {kind.kind for endpoint in diagnosis.endpoints for kind in endpoint.kinds if kind.mean > 0}
    entries = [element("li", swatch(kind), words.KIND_WORDS[kind]) for kind in Kind if kind in present]
    return element("ul", *entries, class_="legend key")


def swatch(kind: Kind) -> Markup:
    """Return the small square in a kind's colour; it says nothing that the text beside it does not."""
    return element("span", class_=f"swatch {kind}", aria_hidden="true")


def meters(rows: Iterable[tuple[str, float, str, str]]) -> Markup:
    """Return thin horizontal meters: (label, filled share 0 to 1, figure, CSS class) each."""
    cells: list[Markup] = []
    for label, share, figure, style in rows:
        filled = element("i", style=f"width:{min(max(share, 0.0), 1.0):.2%}")
        meter = element("div", filled, class_=f"meter {style}".rstrip(), aria_hidden="true")
        cells += [element("span", label), meter, element("b", figure)]
    return element("div", *cells, class_="meters")

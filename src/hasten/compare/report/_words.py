"""What every form of the report says, in the same words."""

import math
from collections.abc import Callable, Iterator

from hasten._core.durations import format_duration
from hasten.compare._result import Change, Comparison, Verdict

Write = Callable[[float], str]
"""Returns how a figure is written."""
ALL_KINDS = "all requests"
_NAMES = {"cpu": "CPU/req"}
_MOST_BUDGET = 3600.0  # seconds; more is nothing to recommend


def kinds(comparison: Comparison) -> Iterator[tuple[str, list[Change]]]:
    """Yield each kind of request with its changes, in the order of the report."""
    names = dict.fromkeys(change.kind for change in comparison.changes)
    for name in names:
        yield name or ALL_KINDS, [change for change in comparison.changes if change.kind == name]


def metric(change: Change) -> str:
    """Return `p50`, `CPU/req`, `errors`."""
    return _NAMES.get(change.metric, change.metric)


def value(change: Change, figure: float) -> str:
    """Return a side's figure: a time, or a share of the requests."""
    if math.isnan(figure):
        return "-"
    if change.metric == "errors":
        return f"{figure:.2%}"
    return "never" if math.isinf(figure) else format_duration(figure)


def moved(change: Change, figure: float) -> str:
    """Return a change: `+9.8%`, or of errors their difference in points."""
    if math.isnan(figure):
        return "-"
    if math.isinf(figure):
        return "+inf" if figure > 0 else "-inf"
    return f"{100 * figure:+.2f} pt" if change.metric == "errors" else f"{figure:+.1%}"


def interval(change: Change) -> str:
    """Return `+6.1 to +13.0%`."""
    if math.isnan(change.low) or math.isnan(change.high):
        return "-"
    return f"{moved(change, change.low).rstrip(' %pt')} to {moved(change, change.high)}"


def probability(change: Change) -> str:
    """Return p with two figures; `<0.0001` below."""
    if math.isnan(change.p):
        return "-"
    return "<0.0001" if change.p < 1e-4 else f"{change.p:.2g}" if change.p < 0.1 else f"{change.p:.2f}"


def seen(change: Change) -> str:
    """Return the smallest change that these rounds would find."""
    if not math.isfinite(change.detectable):
        return "-"
    return f"{100 * change.detectable:.2f} pt" if change.metric == "errors" else f"{change.detectable:.1%}"


def verdict(change: Change) -> str:
    """Return the verdict, in brackets where it does not count."""
    word = change.verdict.value
    return f"({word})" if change.advisory else word


def headline(comparison: Comparison) -> str:
    """Return the comparison's verdict with what made it, in one line."""
    if comparison.problems:
        first = comparison.problems[0]
        return f"not valid: {first.check}: {first.measured}"
    if comparison.verdict is Verdict.SAME:
        return f"same: no change of {percent(comparison.threshold)} or more"
    if comparison.verdict is Verdict.UNDECIDED:
        return f"undecided: {_could_have_seen(comparison)}"
    deciding = [change for change in _counting(comparison) if change.verdict is comparison.verdict]
    named = ", ".join(f"{title(change)} {moved(change, change.change)} ({interval(change)})" for change in deciding[:3])
    more = f" and {len(deciding) - 3} more" if len(deciding) > 3 else ""
    return f"{comparison.verdict.value}: {named}{more}"


def circumstances(comparison: Comparison) -> str:
    """Return how it was measured, in one line."""
    environment = comparison.environment
    discarded = f" ({comparison.discarded} more discarded)" if comparison.discarded else ""
    part = ", interrupted" if comparison.partial else ""
    return (
        f"{comparison.rounds} pairs of rounds{discarded} in {comparison.seconds:.0f} s{part} · "
        f"{environment.get('rate', '')}, {environment.get('round', '')}"
    )


def legend(comparison: Comparison) -> str:
    """Return what the table's words mean, in one line."""
    matters = f"changes below {percent(comparison.threshold)} do not matter"
    return f"{matters} · detects: found four times of five · in brackets: shown, not judged"


def following(comparison: Comparison) -> str:
    """Return what to do next."""
    if comparison.problems:
        return comparison.problems[0].remedy + ", then compare again"
    if comparison.verdict is Verdict.WORSE:
        return "hasten profile each side and hasten profile diff the two: it names the functions that grew"
    if comparison.verdict is Verdict.UNDECIDED:
        return _to_decide(comparison)
    if comparison.verdict is Verdict.BETTER:
        return "keep it: hasten gate in CI tells when it is lost again"
    return "nothing: it is no slower; a smaller --threshold looks closer"


def percent(share: float) -> str:
    """Return `5%`, `2.5%`."""
    return f"{100 * share:.3g}%"


def title(change: Change) -> str:
    """Return `GET / p50`, `CPU/req`."""
    return f"{change.kind} {metric(change)}".strip()


def sentence(change: Change) -> str:
    """Return a change in one line: `1.23 ms to 1.51 ms, +22.8% (+18.0 to +25.1%), p <0.0001`."""
    figures = f"{value(change, change.before)} to {value(change, change.after)}"
    return (
        f"{change.verdict.value}: {figures}, {moved(change, change.change)} ({interval(change)}), "
        f"p {probability(change)}, these rounds find {seen(change)} four times of five"
    )


def _counting(comparison: Comparison) -> list[Change]:
    return [change for change in comparison.changes if not change.advisory]


def _could_have_seen(comparison: Comparison) -> str:
    open_ones = [change for change in _counting(comparison) if change.verdict is Verdict.UNDECIDED]
    known = [change for change in open_ones if math.isfinite(change.detectable)]
    if not known:
        return "too few rounds to see any change"
    named = ", ".join(f"{seen(change)} in {title(change)}" for change in known[:3])
    return f"the smallest change that these rounds would see is {named}"


def _to_decide(comparison: Comparison) -> str:
    """Return the budget that would do: the rounds it takes go with the square of what is to be seen."""
    open_ones = [change for change in _counting(comparison) if change.verdict is Verdict.UNDECIDED]
    known = [
        change.detectable for change in open_ones if change.metric != "errors" and math.isfinite(change.detectable)
    ]
    if not known:
        return "give it more rounds: a larger --budget"
    needed = comparison.seconds * (max(known) / comparison.threshold) ** 2
    if needed > _MOST_BUDGET:
        return "measure on a quieter machine, or look for larger changes only: --threshold"
    minutes = max(math.ceil(1.2 * needed / 60), math.ceil(comparison.seconds / 60) + 1)
    return f"--budget {minutes}m would see {percent(comparison.threshold)}; so would less on a quieter machine"

"""A file of earlier figures, and what has changed since: for who has no earlier version to measure beside this one.

Two runs at different times differ by more than two versions beside each other: by what else the machine did. So a
baseline is of one machine and one plan, and is refused for others; rounds are kept one by one, so that the interval of
a change knows how much they vary. A revision to measure beside this one finds smaller changes (`against`).

Source: Hodges and Lehmann 1963 (the estimate); Conover, Practical Nonparametric Statistics, section 5.4 (its interval).
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from hasten._core.errors import ConfigurationError, InvalidMeasurement
from hasten.compare._result import Round
from hasten.compare.gate._objectives import Judged, Outcome

VERSION = 1
FEWEST_ROUNDS = 6
"""With fewer rounds on each side there is no 95 % interval worth the name."""
_SIGMAS = 1.959964
_LARGEST_BYTES = 16 * 1024 * 1024


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a service at one time.

    Attributes:
      version: Of this format.
      made: When, as ISO 8601 with the zone.
      environment: What they were measured on, by what it is; one with others is no baseline for them.
      plan: Digest of what was sent: kinds of request, their weights, and the rate.
      rounds: One by one.
    """

    version: int
    made: str
    environment: dict[str, str]
    plan: str
    rounds: tuple[Round, ...]


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file, whole or not at all.

    Raises:
      ConfigurationError: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n"
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_bytes(text)
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be written: {error.strerror or error}") from error


def read_baseline(path: Path) -> Baseline:
    """Return what the file holds.

    Raises:
      ConfigurationError: it cannot be read, is no baseline, or one of another version.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        remedy = "write it with hasten gate --write-baseline"
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror or error}", remedy) from error
    if len(data) > _LARGEST_BYTES:
        raise ConfigurationError(str(path), "is too large for a baseline")
    try:
        baseline = msgspec.json.decode(data, type=Baseline)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(str(path), f"is no baseline: {error}") from error
    if baseline.version != VERSION:
        problem = f"is of version {baseline.version}, this hasten reads {VERSION}"
        raise ConfigurationError(str(path), problem, "write it anew with hasten gate --write-baseline")
    return baseline


def require_alike(baseline: Baseline, now: Baseline, where: str) -> None:
    """Check that two baselines can be compared.

    Raises:
      InvalidMeasurement: they are of other machines or plans, or of too few rounds.
    """
    remedy = "write it anew with hasten gate --write-baseline"
    for name in sorted(baseline.environment.keys() | now.environment.keys()):
        before, after = baseline.environment.get(name, "nothing"), now.environment.get(name, "nothing")
        if before != after:
            raise InvalidMeasurement("baseline", f"{where} is of {name} {before}, and this is {after}", remedy)
    if baseline.plan != now.plan:
        raise InvalidMeasurement("baseline", f"{where} is of another plan", remedy)
    fewest = min(len(baseline.rounds), len(now.rounds))
    if fewest < FEWEST_ROUNDS:
        raise InvalidMeasurement("baseline", f"{fewest} rounds, {FEWEST_ROUNDS} are needed on each side", remedy)


def judge_change(kind: str, metric: str, slower: float, change: tuple[float, float, float]) -> Judged:
    """Return whether a metric has grown by no more than it may.

    Args:
      slower: How much that is, relative.
      change: Relative, with the bounds of its interval.
    """
    value, low, high = change
    outcome = Outcome.HOLDS if value <= slower else Outcome.BROKEN if low > slower else Outcome.UNDECIDED
    return Judged(kind=kind, metric=metric, limit=slower, measured=value, low=low, high=high, outcome=outcome)


def judge_rounds(before: Sequence[Round], after: Sequence[Round], slower: float) -> tuple[Judged, ...]:
    """Return what has become of each kind's p50, and of the CPU time per request."""
    names = [kind.name for kind in after[0].kinds] if after else []
    judged = [
        judge_change(name, "p50", slower, relative_change(_p50s(before, name), _p50s(after, name))) for name in names
    ]
    cpu = relative_change([one.cpu for one in before], [one.cpu for one in after])
    if not math.isnan(cpu[0]):
        judged.append(judge_change("all", "cpu", slower, cpu))
    return tuple(judged)


def _p50s(rounds: Iterable[Round], name: str) -> list[float]:
    return [kind.p50 for one in rounds for kind in one.kinds if kind.name == name]


def relative_change(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Return how much `after` is above `before`, 0.05 for 5 %, and the bounds of its 95 % interval.

    The median of all differences of logarithms. Infinite values, of rounds that failed, count as the largest; NaN
    where a side has no value above 0, or one that is not known.
    """
    if not before or not after or any(not value > 0.0 for value in (*before, *after)):
        return math.nan, math.nan, math.nan
    steps = sorted(_log_ratio(new, old) for new in after for old in before)
    count = len(steps)
    spread = _SIGMAS * math.sqrt(count * (len(before) + len(after) + 1) / 12)
    low = max(0, math.floor(count / 2 - spread) - 1)
    middle = (steps[(count - 1) // 2] + steps[count // 2]) / 2
    return math.expm1(middle), math.expm1(steps[low]), math.expm1(steps[count - 1 - low])


def _log_ratio(new: float, old: float) -> float:
    if math.isinf(new) and math.isinf(old):
        return 0.0
    return math.log(new) - math.log(old)

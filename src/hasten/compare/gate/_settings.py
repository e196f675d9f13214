"""Reads [tool.hasten.gate] of pyproject.toml.

    [tool.hasten.gate]
    app = "app.main:app"              # default: the project's
    plan = "plan.toml"
    against = "main"                  # a revision that nothing may be slower than
    slower = "5%"                     # by more than this
    baseline = "gate-baseline.json"   # or a file of earlier figures, in the place of a revision

    [tool.hasten.gate.objectives."GET /products/{id}"]    # name of a kind of request in the plan; * is each of them
    p50 = "10ms"
    p99 = "50ms"
    errors = "0.1%"

    [tool.hasten.gate.objectives.all]                     # all kinds together
    cpu = "3ms"                                           # CPU time of the service per request

Whatever is wrong is told in one line with its key.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from hasten._core.durations import parse_duration
from hasten._core.errors import ConfigurationError
from hasten.compare._result import METRICS

EACH = "*"
"""In the place of a kind's name: every kind of the plan."""
ALL = "all"
"""In the place of a kind's name: all kinds together."""
_TABLE = "tool.hasten.gate"
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)\s?%")
_SMALLEST, _LARGEST = 0.005, 1.0


class Objective(msgspec.Struct, frozen=True):
    """What a metric may be at most.

    Attributes:
      kind: Name of a kind of request, EACH or ALL.
      metric: One of METRICS; `cpu` is of ALL.
      limit: Seconds; of `errors` a share, 0 to 1.
    """

    kind: str
    metric: str
    limit: float


class GateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a service must keep to.

    Attributes:
      app: `module:app`; empty for the project's.
      plan: File; empty where none is named.
      against: Revision that no kind of request may be slower than; empty for none.
      slower: By more than this, relative.
      baseline: File of figures, in the place of a revision; empty for none.
      objectives: In the file's order.
    """

    app: str = ""
    plan: str = ""
    against: str = ""
    slower: float = 0.05
    baseline: str = ""
    objectives: tuple[Objective, ...] = ()


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    app: str = ""
    plan: str = ""
    against: str = ""
    slower: str = "5%"
    baseline: str = ""
    objectives: dict[str, dict[str, str]] = {}


def read_gate(pyproject: Path) -> GateSettings:
    """Return what the file says; no table is no demand.

    Raises:
      ConfigurationError: the file cannot be read, or a key is unknown or wrong.
    """
    try:
        document: Any = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return GateSettings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(str(pyproject), f"cannot be read: {error}") from error
    for name in _TABLE.split("."):
        document = document.get(name, {})
        if not isinstance(document, dict):
            raise ConfigurationError(f"{pyproject}: {_TABLE}", f"{name} is no table")
    try:
        table = msgspec.convert(document, _Table)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{pyproject}: {_TABLE}", str(error)) from None
    return _settings(table, f"{pyproject}: {_TABLE}")


def _settings(table: _Table, where: str) -> GateSettings:
    slower = parse_percent(table.slower, f"{where}.slower")
    if not _SMALLEST <= slower <= _LARGEST:
        raise ConfigurationError(f"{where}.slower", f"{table.slower} is not from 0.5% to 100%")
    if table.against and table.baseline:
        raise ConfigurationError(where, "against and baseline stand both there", "compare with one of them")
    return GateSettings(
        app=table.app,
        plan=table.plan,
        against=table.against,
        slower=slower,
        baseline=table.baseline,
        objectives=tuple(_objectives(table.objectives, f"{where}.objectives")),
    )


def _objectives(table: dict[str, dict[str, str]], where: str) -> Iterable[Objective]:
    for kind, limits in table.items():
        for metric, text in limits.items():
            place = f"{where}.{kind!r}.{metric}"
            if metric not in METRICS:
                raise ConfigurationError(place, "unknown", f"there is {', '.join(METRICS)}")
            if metric == "cpu" and kind != ALL:
                raise ConfigurationError(place, "CPU time is known of all kinds together", f"write it under {ALL}")
            limit = parse_percent(text, place) if metric == "errors" else parse_duration(text, place)
            if metric != "errors" and not limit:
                raise ConfigurationError(place, "nothing takes no time")
            yield Objective(kind, metric, limit)


def parse_percent(text: str, where: str) -> float:
    """Return the share that a text like `5%` or `0.1 %` says: 0.05, 0.001.

    Raises:
      ConfigurationError: it has another form, or is above 100 %.
    """
    match = _PERCENT.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise ConfigurationError(where, f"{text!r} is no percentage", "write it like 5% or 0.1%")
    return float(match[1]) / 100

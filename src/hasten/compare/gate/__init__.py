"""The gate: what a service must keep to, for CI.

_settings      [tool.hasten.gate]
_objectives    absolute limits, and how sure it is that they hold
_baseline      a file of earlier figures, and what has changed since
_measure       a service alone, round after round
_gate          all of it
_report        what has come out, for terminals and CI
"""

from hasten.compare.gate._gate import GateResult, GateRun, gate
from hasten.compare.gate._objectives import Judged, Measured, Outcome, judge
from hasten.compare.gate._report import print_gate, write
from hasten.compare.gate._settings import ALL, EACH, GateSettings, Objective, parse_percent, read_gate

__all__ = (
    "ALL",
    "EACH",
    "GateResult",
    "GateRun",
    "GateSettings",
    "Judged",
    "Measured",
    "Objective",
    "Outcome",
    "gate",
    "judge",
    "parse_percent",
    "print_gate",
    "read_gate",
    "write",
)

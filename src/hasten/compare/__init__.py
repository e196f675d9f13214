"""Two versions of a service, measured beside each other until it is decided whether one is faster.

_result     what a comparison is made of, and what it says
_sides      the two that are compared; _cpu their CPU clocks
_git        revisions of a repository; _environments, _needs, _step what they are served in
_rounds     the measuring
_judge      what the rounds say, look by look: _warmup which pairs count, _series the figures of each metric, _evidence
            estimate, interval and p of one (_wilcoxon, _walsh), _looks how small p has to be at each look, _holm over
            all metrics, _changes the verdicts
_compare    all of it
gate/       what a service must keep to, for CI
report/     forms of what has come out
"""

from hasten.compare._compare import Announce, ComparisonOptions, compare, compare_revisions
from hasten.compare._environments import Preparation
from hasten.compare._judge import Decision, Judge
from hasten.compare._result import Change, Comparison, KindRound, Pair, Round, Verdict
from hasten.compare._sides import Side, Workplace, side_of

__all__ = (
    "Announce",
    "Change",
    "Comparison",
    "ComparisonOptions",
    "Decision",
    "Judge",
    "KindRound",
    "Pair",
    "Preparation",
    "Round",
    "Side",
    "Verdict",
    "Workplace",
    "compare",
    "compare_revisions",
    "side_of",
)

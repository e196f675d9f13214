"""What the pairs measured so far say, look by look, until it is decided or the budget is spent.

    judge = Judge(threshold=0.05)
    while not (decision := judge.look(spent)).decided:
        judge.add(measure a pair)

    pairs -> without the spoilt and the first (warmup) -> one series a metric -> evidence: p, estimate, intervals
          -> holm: what is proven different, over all metrics and looks (looks: how small p has to be) -> verdicts

BETTER, WORSE: proven different, and not proven to be within the threshold. SAME: the interval that holds at all
looks together lies within the threshold, so that calling a change of `threshold` no change has a chance of at most
2.5 % for a metric. One that is worse makes the comparison worse at once; for any other verdict all that count have to
be decided, so the verdict SAME of a comparison needs no correction for many metrics (Berger, "Multiparameter hypothesis
testing and acceptance sampling", 1982: intersection-union).
"""

import math
from collections import Counter
from collections.abc import Iterator

import msgspec

from hasten._core.errors import ConfigurationError
from hasten.compare._changes import INTERVAL, change, is_decided, more_rounds, overall
from hasten.compare._evidence import Evidence, evidence
from hasten.compare._holm import proven
from hasten.compare._looks import Look, nominal_level
from hasten.compare._result import Change, Pair, Verdict
from hasten.compare._series import Key, all_series
from hasten.compare._warmup import Warmup, drift
from hasten.load import Problem

_FEWEST = 10  # pairs: seven that all agree prove a change of CPU, eleven one of a kind among ten
_LOOK_EVERY, _LOOK_GROWTH = 5, 1.1
_WARMUP_SHARE = 0.25
_SPOILT = 1 / 3
_SPOILT_EARLY, _SPOILT_EARLY_OF = 1 / 2, 10


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the pairs so far say.

    Attributes:
      rounds: Pairs that it was judged by.
      warming: Pairs left out at the start, while a side was warming up.
      spoilt: Pairs left out because a round of theirs had problems.
      changes: By kind in the plan's order, then those of all kinds; empty before the first look.
      verdict: As in Comparison.
      decided: More rounds cannot change the verdict, the budget is spent, or nothing can be said (`problems`).
      more_rounds: About how many more pairs it takes to see a change of `threshold` in all metrics that count
        (four times of five); 0 if these rounds could; None if not even that is known.
      problems: The comparison is not valid: the check that failed.
      notes: What a reader should know: a line each.
    """

    rounds: int
    warming: int
    spoilt: int
    changes: tuple[Change, ...]
    verdict: Verdict
    decided: bool
    more_rounds: int | None = None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


class Judge:
    """Takes pairs, says what has changed.

    Args:
      threshold: Relative; changes smaller than this do not matter.
      alpha: Chance of calling anything different when nothing is, over all looks and metrics.
    Raises:
      ConfigurationError: the threshold is none.
    """

    def __init__(self, *, threshold: float = 0.05, alpha: float = 0.05) -> None:
        if not 0 < threshold < 1:
            raise ConfigurationError("threshold", f"{threshold:g} is not between 0 and 1", "0.05 is 5 %")
        self._threshold = threshold
        self._alpha = alpha
        self._usable: list[Pair] = []
        self._spoilt: list[Problem] = []
        self._warmup = Warmup()
        self._looks: list[Look] = []
        self._seen: dict[Key, list[tuple[float, float]]] = {}
        self._last = Decision(rounds=0, warming=0, spoilt=0, changes=(), verdict=Verdict.UNDECIDED, decided=False)

    def add(self, pair: Pair) -> None:
        """Take a pair; those with problems are counted and left out."""
        problems = (*pair.before.problems, *pair.after.problems)
        if problems:
            self._spoilt.append(problems[0])
        else:
            self._usable.append(pair)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Return the pairs that it judges by: neither spoilt nor measured while a side was warming up."""
        return tuple(self._usable[self._warmup.pairs :])

    def look(self, spent: float, *, last: bool = False) -> Decision:
        """Return what the pairs so far say.

        Call it after every pair: it looks anew only when enough pairs have come, as every look costs some of the
        chance to be wrong, and says again what the last look said otherwise.

        Args:
          spent: Share of the budget that is used up, never less than before.
          last: Look anew whatever has come, there will be no more: always so when all is spent. Before that (someone
            has interrupted it) the look is as strict as one that others follow, or who stops when he likes what he
            sees would find too much.
        """
        last = last or spent >= 1
        self._settle(spent)
        if self._due(last=last):
            self._note_look(spent)
            self._last = self._decision(self._judge(), last=last)
        elif last or self._too_many_spoilt(last=last):
            self._last = self._decision(self._last.changes, last=last)
        return self._last

    def _settle(self, spent: float) -> None:
        """Decide once how many of the first pairs to leave out: at most a quarter of what the budget gives."""
        self._warmup.update(self._usable, len(self._usable) / spent * _WARMUP_SHARE if spent > 0 else math.inf)

    def _due(self, *, last: bool) -> bool:
        """Return whether there is more to see than at the last look, and enough of it."""
        pairs = len(self.pairs)
        if last:
            return pairs > 0
        seen = self._looks[-1].pairs if self._looks else 0
        return self._warmup.settled and pairs >= max(seen + _LOOK_EVERY, _LOOK_GROWTH * seen)

    def _note_look(self, spent: float) -> None:
        """Take the look down; one at the pairs of the last look takes its place."""
        pairs = len(self.pairs)
        if self._looks and self._looks[-1].pairs == pairs:
            self._looks.pop()
            for seen in self._seen.values():
                del seen[len(self._looks) :]
        self._looks.append(Look(pairs, min(1.0, max(spent, self._looks[-1].spent if self._looks else 0.0))))

    def _judge(self) -> tuple[Change, ...]:
        """Return what has become of each metric at this look."""
        looks = tuple(self._looks)
        series = {one.key: one for one in all_series(self.pairs)}
        found = {key: evidence(one, self._threshold) for key, one in series.items()}
        parts = {key: one.part for key, one in series.items()}
        different = proven(self._alpha, looks, parts, {key: self._history(key, one) for key, one in found.items()})
        outer = nominal_level(INTERVAL, looks)
        whole = math.fsum(parts.values())
        return tuple(
            change(one, found[key], self._alpha * one.part / whole, outer, proven=key in different)
            for key, one in series.items()
        )

    def _history(self, key: Key, found: Evidence) -> list[float]:
        """Return p at all looks, this one included; 1 where it spoke for the other direction, or was not there."""
        seen = self._seen.setdefault(key, [])
        seen += [(1.0, 0.0)] * (len(self._looks) - 1 - len(seen))
        seen.append((found.p, found.estimate))
        return [p if estimate * found.estimate > 0 else 1.0 for p, estimate in seen]

    def _decision(self, changes: tuple[Change, ...], *, last: bool) -> Decision:
        pairs = len(self.pairs)
        decided = last or is_decided(changes)
        problem = self._too_many_spoilt(last=decided)
        return Decision(
            rounds=pairs,
            warming=self._warmup.pairs,
            spoilt=len(self._spoilt),
            changes=changes,
            verdict=Verdict.UNDECIDED if problem else overall(changes, self._threshold),
            decided=decided or problem is not None,
            more_rounds=more_rounds(changes, pairs, self._threshold) if changes else None,
            problems=() if problem is None else (problem,),
            notes=tuple(self._notes(last=last)),
        )

    def _notes(self, *, last: bool) -> Iterator[str]:
        pairs = len(self.pairs)
        if last and pairs < _FEWEST:
            yield f"only {pairs} of the {_FEWEST} pairs or more that it takes to prove anything"
        elif last and not self._warmup.settled:
            yield f"{pairs} pairs are too few to tell whether a side was still warming up"
        if self._warmup.in_vain:
            yield f"still warming up after the first {self._warmup.pairs} pairs, the most that are left out"
        if self._looks and (moved := drift(self.pairs)):
            yield f"{moved} of after beside before kept moving from pair to pair: its change is an average"

    def _too_many_spoilt(self, *, last: bool) -> Problem | None:
        """Return the commonest problem if more than a third of the pairs have one; early more than half of ten."""
        measured = len(self._usable) + len(self._spoilt)
        share = _SPOILT if last else _SPOILT_EARLY if measured >= _SPOILT_EARLY_OF else 1.0
        if len(self._spoilt) <= measured * share:
            return None
        check, _ = Counter(problem.check for problem in self._spoilt).most_common(1)[0]
        latest = next(problem for problem in reversed(self._spoilt) if problem.check == check)
        figure = f"{len(self._spoilt)} of {measured} pairs were spoilt; the last: {latest.measured}"
        return Problem(check, figure, latest.remedy)

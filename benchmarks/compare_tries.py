"""How often `hasten compare` is right: the same FastAPI service twice, and against itself with 5 % and 10 % more CPU.

    python -m benchmarks.compare_tries [--tries 20] [--budget 3m] [--variant 10%] [--keep FILE]

Each try is a whole comparison: two processes started, rounds, a verdict, both ended. How many turns of the service's
loop are 1 % of its CPU is measured first. The table is Markdown, on stdout; each try is a line on stderr. Twenty tries
of all variants take some hours: with --keep each is written to a file as it ends, and a later run goes on from there.
"""

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hasten._core.durations import parse_duration
from hasten._core.errors import HastenError, InvalidMeasurement, TargetUnreachable
from hasten.compare import Comparison, ComparisonOptions, Side, Verdict, Workplace, compare
from hasten.load import Plan

_SERVICE = """
import os
from fastapi import FastAPI

app = FastAPI()
TURNS = int(os.environ["TURNS"])

@app.get("/work")
async def work() -> dict[str, int]:
    total = 0
    for number in range(TURNS):
        total += number * number % 7
    return {"total": total}
"""
_TURNS = 6000  # about 0.4 ms
_MORE = {"0%": 0.0, "5%": 0.05, "10%": 0.10}
_COLUMNS = ("CPU added", "tries", "better", "same", "undecided", "worse", "not valid", "pairs", "seconds", "CPU", "p50")
_CALIBRATION_SECONDS = 40.0


class Try(msgspec.Struct, frozen=True):
    """What became of a try.

    Attributes:
      refused: The check that failed, where it was not valid; the figures then say nothing.
      cpu, p50: Relative changes.
    """

    variant: str
    verdict: str = ""
    pairs: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    p50: float = 0.0
    refused: str = ""

    def told(self) -> str:
        """Return it as a line."""
        if self.refused:
            return f"+{self.variant}: not valid: {self.refused}"
        figures = f"{self.pairs} pairs, {self.seconds:.0f} s, CPU {self.cpu:+.1%}, p50 {self.p50:+.1%}"
        return f"+{self.variant}: {self.verdict} after {figures}"


class Kept:
    """The tries so far, in a file if one is given."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        text = file.read_bytes() if file is not None and file.exists() else b""
        self.tries = [msgspec.json.decode(line, type=Try) for line in text.splitlines()]

    def add(self, one: Try) -> None:
        """Keep a try."""
        self.tries.append(one)
        _say(one.told())
        if self._file is not None:
            with self._file.open("ab") as file:
                file.write(msgspec.json.encode(one) + b"\n")

    def of(self, variant: str) -> list[Try]:
        """Return the tries of a variant."""
        return [one for one in self.tries if one.variant == variant]

    def row(self, variant: str) -> tuple[str, ...]:
        """Return a variant's cells of the table."""
        tries = self.of(variant)
        valid = [one for one in tries if not one.refused]
        verdicts = Counter(one.verdict for one in valid)
        return (
            f"+{variant}",
            str(len(tries)),
            *(str(verdicts[v.value]) for v in (Verdict.BETTER, Verdict.SAME, Verdict.UNDECIDED, Verdict.WORSE)),
            str(len(tries) - len(valid)),
            _spread([float(one.pairs) for one in valid]),
            _spread([one.seconds for one in valid]),
            _moved([one.cpu for one in valid]),
            _moved([one.p50 for one in valid]),
        )


def main() -> None:
    """Run the tries and print the table."""
    arguments = _arguments()
    rate, budget = arguments.rate, parse_duration(arguments.budget, "--budget")
    plan = Plan.for_url("http://127.0.0.1/work", rate=rate)
    kept, chosen = Kept(arguments.keep), arguments.variant or list(_MORE)
    with tempfile.TemporaryDirectory(prefix="hasten-") as scratch:
        folder = Path(scratch)
        folder.joinpath("service.py").write_text(_SERVICE)
        per_share = turns_per_share(folder, plan)
        _say(f"1 % of the service's CPU are {per_share / 100:.0f} turns")
        for number in range(arguments.tries):  # variants in turn: all of them meet the same times of the day
            for variant in chosen:
                if len(kept.of(variant)) <= number:
                    after = _side(folder, round(_TURNS + _MORE[variant] * per_share))
                    seeded = plan.with_settings(seed=number + 1)
                    kept.add(_tried(variant, _side(folder, _TURNS), after, seeded, ComparisonOptions(budget=budget)))
    sys.stdout.write(table(kept, chosen))


def turns_per_share(folder: Path, plan: Plan) -> float:
    """Return how many turns of its loop would double the CPU that the service takes for a request."""
    options = ComparisonOptions(budget=_CALIBRATION_SECONDS, threshold=0.002)  # decides nothing, so takes it all
    result = compare(_side(folder, _TURNS), _side(folder, 2 * _TURNS), plan, options, lambda _: None)
    if result.problems:
        raise InvalidMeasurement("calibration", result.problems[0].measured, result.problems[0].remedy)
    return _TURNS / change_of(result, "cpu")


def change_of(result: Comparison, metric: str) -> float:
    """Return the change of a metric of the service's only kind of request."""
    return next(change.change for change in result.changes if change.metric == metric)


def table(kept: Kept, chosen: Sequence[str]) -> str:
    """Return the tries of some variants as a Markdown table."""
    rows = [_COLUMNS, ("---", *["---:"] * (len(_COLUMNS) - 1)), *(kept.row(variant) for variant in chosen)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _tried(variant: str, before: Side, after: Side, plan: Plan, options: ComparisonOptions) -> Try:
    try:
        result = compare(before, after, plan, options, lambda _: None)
    except TargetUnreachable as error:
        return Try(variant, refused=str(error))
    if result.partial:
        raise KeyboardInterrupt
    if result.problems:
        return Try(variant, refused=f"{result.problems[0].check}: {result.problems[0].measured}")
    changes = change_of(result, "cpu"), change_of(result, "p50")
    return Try(variant, result.verdict.value, result.rounds, result.seconds, *changes)


def _side(folder: Path, turns: int) -> Side:
    workplace = Workplace(folder=folder, environment={"TURNS": str(turns)})
    return Side(name=f"{turns} turns", app="service:app", workplace=workplace)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})" if values else "-"


def _moved(values: list[float]) -> str:
    return f"{statistics.median(values):+.1%} ({min(values):+.1%} to {max(values):+.1%})" if values else "-"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_tries", description=__doc__.split("\n")[0])
    parser.add_argument("--tries", type=int, default=20, help="comparisons of each variant")
    parser.add_argument("--budget", default="3m", help="of each comparison")
    parser.add_argument("--rate", type=float, default=250.0, help="requests per second")
    parser.add_argument("--variant", action="append", choices=list(_MORE), help="CPU added; repeatable; default: all")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the tries there, and go on from those it has")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except HastenError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

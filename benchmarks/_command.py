"""The command line: parse, run, print.

Exit codes: 0 ok · 1 a budget does not hold (with --check) · 2 usage or configuration · 3 something did not
start or the measurement is not valid · 130 interrupted.
"""

import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from benchmarks._budgets import BUDGETS, FEWEST_ROUNDS, read_budgets
from benchmarks._catalogue import all_benchmarks, find
from benchmarks._harness import Benchmark, Effort
from benchmarks._result import Result
from benchmarks._run import Order, run
from benchmarks._tables import print_result
from hasten._core.errors import ConfigurationError, HastenError, InvalidMeasurement
from hasten.cli._console import messages, output, print_error, print_json, print_next

_ROUNDS = 9
_QUICK_ROUNDS = 5

app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})


def _option(flag: str, text: str, **settings: Any) -> Any:
    variable = "HASTEN_BENCHMARKS_" + flag.removeprefix("--").upper()
    return typer.Option(flag, envvar=variable, help=text, **settings)


@app.command()
def benchmarks(
    name: Annotated[str, typer.Argument(help="A benchmark's name, or `all`; --list shows them.")] = "",
    *,
    quick: Annotated[bool, _option("--quick", "About a minute a benchmark; coarse.")] = False,
    rounds: Annotated[int | None, _option("--rounds", "Rounds; default 9, quick 5.", min=1)] = None,
    json: Annotated[str, _option("--json", "Write the result to FILE; - is stdout.", metavar="FILE")] = "",
    check: Annotated[bool, _option("--check", "Exit 1 if a budget does not hold.")] = False,
    only: Annotated[str, _option("--only", "Only these subjects, separated by commas.")] = "",
    cases: Annotated[str, _option("--cases", "Only these cases; * is any text.")] = "",
    seed: Annotated[int | None, _option("--seed", "Repeat a run's order; default random.")] = None,
    budgets: Annotated[Path, _option("--budgets", "The limits to judge by.", metavar="FILE")] = BUDGETS,
    list_: Annotated[bool, typer.Option("--list", help="Name the benchmarks and their subjects.")] = False,
) -> None:
    """Measure subjects side by side in interleaved rounds; ratios of one run are what counts."""
    if list_:
        _print_list()
        return
    chosen = find(name, all_benchmarks())
    effort = Effort(rounds or (_QUICK_ROUNDS if quick else _ROUNDS), quick, _names(only), _names(cases))
    if check and (only or cases or effort.rounds < FEWEST_ROUNDS):
        raise ConfigurationError("--check", f"needs all subjects and at least {FEWEST_ROUNDS} rounds of all cases")
    order = Order(effort, secrets.randbits(32) if seed is None else seed, read_budgets(budgets))
    results = measure(chosen, order, json)
    if check:
        _check(chosen, order, results)


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def measure(chosen: tuple[Benchmark, ...], order: Order, json: str) -> list[Result]:
    """Run each benchmark and show the results.

    Args:
      json: File for the results, `-` for stdout, which then gets nothing else; empty for none.
    """
    results: list[Result] = []
    for benchmark in chosen:
        results.append(run(benchmark, order, messages()))
        if json != "-":
            print_result(output(), benchmark, results[-1])
    if json:
        _write_json(results[0] if len(results) == 1 else results, json)
    if json != "-":
        print_next(_next(results, quick=order.effort.quick))
    return results


def _check(chosen: tuple[Benchmark, ...], order: Order, results: list[Result]) -> None:
    """End with exit code 1 if a budget does not hold, 3 if one could not be judged."""
    if any(not budget.holds for result in results for budget in result.budgets):
        raise typer.Exit(1)
    judged = {budget.name for result in results for budget in result.budgets}
    for benchmark in chosen:
        for budget in order.budgets_of(benchmark):
            if budget.name not in judged:
                rounds = f"measured in fewer than {FEWEST_ROUNDS} rounds"
                raise InvalidMeasurement(f"budget {budget.name!r}", rounds, "run it on a quieter machine")


def _print_list() -> None:
    console = output()
    for benchmark in all_benchmarks():
        console.print(f"[bold]{benchmark.name}[/]: {benchmark.summary}")
        for subject in benchmark.subjects:
            console.print(f"  {subject.name:20}{subject.role:7}{subject.about}")
    print_next("python -m benchmarks NAME --quick")


def _write_json(value: Result | list[Result], target: str) -> None:
    if target == "-":
        return print_json(value)
    try:
        Path(target).write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    except OSError as error:
        raise ConfigurationError("--json", f"{target}: {error.strerror}") from None
    return None


def _next(results: list[Result], *, quick: bool) -> str:
    name = results[0].benchmark if len(results) == 1 else "all"
    if quick:
        return f"python -m benchmarks {name}  (without --quick, for figures to rely on)"
    if any(not budget.holds for result in results for budget in result.budgets):
        return f"python -m benchmarks {name} --only SUBJECTS --cases CASES  (what went over its budget, alone)"
    return f"python -m benchmarks {name} --check --json FILE  (to keep the figures)"


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; whatever was started has then been ended."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(arguments, prog_name="python -m benchmarks")
    except HastenError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, previous)
    sys.exit(0)

"""`hasten load`: send an open-model load and print latencies from the intended send time."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from hasten._core.durations import format_duration
from hasten._core.errors import ConfigurationError
from hasten.cli._console import output, print_json, print_next
from hasten.cli._options import JsonOption, duration_option
from hasten.load import KindResult, LoadResult, Plan, Progress, run

_PIPE_WIDTH = 160  # columns where there is no terminal to ask; rows are not folded for a file


def load(
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="Where to send one kind of request; with --plan, its server."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", envvar="HASTEN_PLAN", metavar="FILE", help="TOML file of what to send."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", envvar="HASTEN_TARGET", metavar="URL", help="Like URL, which goes first."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", envvar="HASTEN_RATE", help="Requests per second, all in all.")
    ] = None,
    duration: Annotated[
        float | None, duration_option("--for", "HASTEN_FOR", "Measured time. Default: the plan's, or 10s.")
    ] = None,
    warmup: Annotated[
        float | None,
        duration_option("--warmup", "HASTEN_WARMUP", "Sent, not counted. Default: the plan's, or 2s."),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", envvar="HASTEN_METHOD", help="HTTP method, without --plan.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", envvar="HASTEN_HEADER", metavar="NAME:VALUE", help="Repeatable; without --plan."),
    ] = None,
    body: Annotated[
        str | None, typer.Option("--body", envvar="HASTEN_BODY", help="Request body, without --plan.")
    ] = None,
    expect: Annotated[
        list[int] | None,
        typer.Option(
            "--expect",
            envvar="HASTEN_EXPECT",
            metavar="STATUS",
            help="Status that is an answer; repeatable; without --plan. Default: all below 400.",
        ),
    ] = None,
    arrivals: Annotated[
        str | None,
        typer.Option(
            "--arrivals",
            envvar="HASTEN_ARRIVALS",
            help="poisson or constant. Default: the plan's, or poisson.",
        ),
    ] = None,
    connections: Annotated[
        int | None,
        typer.Option(
            "--connections",
            envvar="HASTEN_CONNECTIONS",
            help="At most this many. Default: the plan's, or 1000.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        duration_option("--timeout", "HASTEN_TIMEOUT", "From the intended send time. Default: the plan's, or 10s."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", envvar="HASTEN_SEED", help="Of times and values. Default: the plan's, or 1."),
    ] = None,
    insecure: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--insecure", envvar="HASTEN_INSECURE", help="Accept any certificate.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Send requests at a fixed rate, whether or not the server keeps up, and report latencies.

    Latency counts from the time a request should have been sent, so that a stall of the server shows in
    full. The generator's own lateness is printed beside it; the run is not valid (exit 3) when that changed
    the answer.

    Exit codes: 0 all answered as expected, 1 some were not, 2 usage, 3 unreachable or not valid, 130
    interrupted.
    """
    single = {"method": method, "header": header, "body": body, "expect": expect}
    chosen = _plan_of_file(plan, url or target, single) if plan else _plan_of_url(url or target, rate, single)
    settings: dict[str, Any] = {
        "rate": rate,
        "duration": duration,
        "warmup": warmup,
        "arrivals": arrivals,
        "connections": connections,
        "timeout": timeout,
        "seed": seed,
        "verify": False if insecure else None,
    }
    chosen = chosen.with_settings(**{key: value for key, value in settings.items() if value is not None})
    with _progress_line() as on_progress:
        result = run(chosen, on_progress=on_progress)
    _report(result, chosen, json=json)


def _plan_of_file(path: Path, target: str | None, single: dict[str, Any]) -> Plan:
    for option, value in single.items():
        if value:
            raise ConfigurationError(f"--{option}", "the plan says what to send", "leave it out or give a URL")
    return Plan.from_file(path, target=target or "")


def _plan_of_url(url: str | None, rate: float | None, single: dict[str, Any]) -> Plan:
    if not url:
        raise ConfigurationError("hasten load", "nothing to send", "give a URL with --rate, or --plan FILE")
    if rate is None:
        raise ConfigurationError("--rate", "missing", "say how many requests per second the URL gets")
    return Plan.for_url(
        url,
        rate=rate,
        method=single["method"] or "GET",
        headers=tuple(_header(text) for text in single["header"] or ()),
        body=single["body"] or "",
        expect=tuple(single["expect"] or ()),
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError("--header", f"{text!r} is not of the form NAME:VALUE")
    return name.strip(), value.strip()


def _report(result: LoadResult, plan: Plan, *, json: bool) -> None:
    """Print the result, then leave with the exit code it deserves."""
    if json:
        print_json(result)
    else:
        _print_result(result)
        print_next(_hint(result, plan))
    if result.partial:
        raise typer.Exit(130)
    result.require_valid()
    if result.total.failed:
        raise typer.Exit(1)


def _print_result(result: LoadResult) -> None:
    console = output()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    part = " (partial: interrupted)" if result.partial else ""
    console.print(
        f"{result.target}: {result.rate:g} requests/s offered ({result.arrivals}), "
        f"{result.achieved_rate:.1f} answered, over {format_duration(result.measured)}{part}",
        soft_wrap=True,
        markup=False,
    )
    console.print(_table(result))
    console.print(
        f"latency from the intended send time · own lateness p50 {format_duration(result.lateness_p50)}, "
        f"p99 {format_duration(result.lateness_p99)}, max {format_duration(result.lateness_max)} "
        f"({result.pacing})",
        f"CPU {format_duration(result.cpu_seconds)}, "
        f"{format_duration(result.cpu_seconds_per_request)} a request · "
        f"{result.connections} connections, {result.repeats} requests sent again, {result.missed} not sent",
        sep="\n",
        soft_wrap=True,
    )


def _table(result: LoadResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("request", no_wrap=True)
    for name in ("offered", "answered"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("errors")
    for name in ("p50", "p90", "p99", "p99.9", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = result.kinds if len(result.kinds) == 1 else (*result.kinds, result.total)
    for row in rows:
        times = [_duration(value) for value in (row.p50, row.p90, row.p99, row.p999, row.max)]
        name = row.name.replace("[", "\\[")
        table.add_row(name, str(row.offered), str(row.answered), _errors(row), *times)
    return table


def _duration(seconds: float) -> str:
    return "never" if math.isinf(seconds) else format_duration(seconds)


def _errors(row: KindResult) -> str:
    """Say how many failed and how: `3 timeout, 2 status 503`."""
    parts = [f"{count} {kind}" for kind, count in row.errors.items() if kind != "status"]
    parts += [f"{count} status {status}" for status, count in row.statuses.items()]
    return ", ".join(parts) or "-"


def _hint(result: LoadResult, plan: Plan) -> str:
    if result.problems:
        return result.problems[0].remedy + ", then run it again"
    if result.total.statuses:
        status = max(result.total.statuses, key=lambda text: result.total.statuses[text])
        return f"see why the service answers {status}, or add it to the expected statuses"
    if result.total.failed:
        return "see in the service's log why requests got no answer"
    p99 = _duration(result.total.p99)
    return f"hasten doctor --plan {plan.source or 'plan.toml'} says where the p99 of {p99} goes"


@contextmanager
def _progress_line() -> Iterator[Callable[[Progress], None] | None]:
    """Yield a callback that rewrites one line on the terminal, None where there is none; plain writes, since
    rendering with rich would make the generator late.
    """
    if not sys.stderr.isatty():
        yield None
        return
    write, flush = sys.stderr.write, sys.stderr.flush

    def show(progress: Progress) -> None:
        state = "warm-up" if progress.warming else f"{progress.rate:.0f}/s, p99 {_duration(progress.p99)}"
        failed = f", {progress.failed} failed" if progress.failed else ""
        write(f"\r\x1b[2K{progress.elapsed:.0f} of {progress.planned:.0f} s: {state}{failed}")
        flush()

    try:
        yield show
    finally:
        write("\r\x1b[2K")
        flush()

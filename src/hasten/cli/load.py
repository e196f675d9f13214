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

_GRPC = ("grpc://", "grpcs://")
_PIPE_WIDTH = 160  # columns where there is no terminal to ask; rows are not folded for a file


def load(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help="Where to send one kind of request: http(s)://host/path or "
            "grpc(s)://host:port/package.Service/Method; "
            "with --plan, its server.",
        ),
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
        typer.Option(
            "--header",
            envvar="HASTEN_HEADER",
            metavar="NAME:VALUE",
            help="HTTP header, or gRPC metadata; repeatable; without --plan.",
        ),
    ] = None,
    body: Annotated[
        str | None, typer.Option("--body", envvar="HASTEN_BODY", help="HTTP request body, without --plan.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            envvar="HASTEN_DATA",
            metavar="JSON",
            help="gRPC request as JSON, or @FILE that holds it; without --plan.",
        ),
    ] = None,
    proto: Annotated[
        list[str] | None,
        typer.Option(
            "--proto",
            envvar="HASTEN_PROTO",
            metavar="FILE",
            help=".proto file of the gRPC service; repeatable. Default: the plan's, or the server's reflection.",
        ),
    ] = None,
    proto_path: Annotated[
        list[str] | None,
        typer.Option(
            "--proto-path",
            envvar="HASTEN_PROTO_PATH",
            metavar="DIR",
            help="Where .proto files' imports are looked for; repeatable.",
        ),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            envvar="HASTEN_EXPECT",
            metavar="STATUS",
            help="Status that is an answer; repeatable; without --plan. Default: all below 400, over gRPC OK.",
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
            help="At most this many; over gRPC this many. Default: the plan's, or 1000; over gRPC 1.",
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
    """Send HTTP requests or gRPC calls at a fixed rate, whether or not the server keeps up, and report latencies.

    Latency counts from the time a request should have been sent, so that a stall of the server shows in
    full. The generator's own lateness is printed beside it; the run is not valid (exit 3) when that changed
    the answer.

    Exit codes: 0 all answered as expected, 1 some were not, 2 usage, 3 unreachable or not valid, 130
    interrupted.
    """
    single = {"method": method, "header": header, "body": body, "data": data, "expect": expect}
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
        "proto": tuple(proto or ()) or None,
        "proto_path": tuple(proto_path or ()) or None,
    }
    if not chosen.grpc:
        _refuse({"proto": proto, "proto-path": proto_path}, "it is for gRPC methods", "leave it out")
    chosen = chosen.with_settings(**{key: value for key, value in settings.items() if value is not None})
    with _progress_line() as on_progress:
        result = run(chosen, on_progress=on_progress)
    _report(result, chosen, json=json)


def _plan_of_file(path: Path, target: str | None, single: dict[str, Any]) -> Plan:
    _refuse(single, "the plan says what to send", "leave it out or give a URL")
    return Plan.from_file(path, target=target or "")


def _plan_of_url(url: str | None, rate: float | None, single: dict[str, Any]) -> Plan:
    if not url:
        raise ConfigurationError("hasten load", "nothing to send", "give a URL with --rate, or --plan FILE")
    if rate is None:
        raise ConfigurationError("--rate", "missing", "say how many requests per second the URL gets")
    headers = tuple(_header(text) for text in single["header"] or ())
    expect = tuple(single["expect"] or ())
    if url.startswith(_GRPC):
        _refuse({key: single[key] for key in ("method", "body")}, "it is for HTTP", "a gRPC request is given by --data")
        return Plan.for_method(url, rate=rate, data=_data(single["data"] or ""), headers=headers, expect=expect)
    _refuse({"data": single["data"]}, "it is for grpc:// targets", "an HTTP request is given by --body")
    return Plan.for_url(
        url,
        rate=rate,
        method=single["method"] or "GET",
        headers=headers,
        body=single["body"] or "",
        expect=tuple(_http_status(text) for text in expect),
    )


def _refuse(options: dict[str, Any], problem: str, remedy: str) -> None:
    """Raise ConfigurationError for the first of `options` that was given."""
    for option, value in options.items():
        if value:
            raise ConfigurationError(f"--{option}", problem, remedy)


def _data(text: str) -> str:
    """Return the JSON that --data gives, read from the file it names by @FILE."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("--data", f"{text[1:]} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError("--data", f"{text[1:]} is not UTF-8 text") from error


def _http_status(text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError("--expect", f"{text!r} is no HTTP status", "for example 404")
    return int(text)


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
    if plan.grpc:
        return f"the p99 is {p99}; raise --rate step by step to see where answered falls behind offered"
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

"""`hasten trace`: send one request, and show where its time went, in every service that it came through."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hasten._core.durations import format_duration
from hasten._core.errors import ConfigurationError
from hasten.admin.live import parse_place
from hasten.cli._console import output, print_json, print_next
from hasten.cli._options import JsonOption, duration_option
from hasten.cli._waterfall_view import waterfall_table
from hasten.waterfall import Wanted, Waterfall
from hasten.waterfall import trace as send_and_collect

_PIPE_WIDTH = 120  # columns where there is no terminal to ask


def trace(
    url: Annotated[str, typer.Argument(metavar="URL", help="What to ask for: http://127.0.0.1:8000/items/1.")],
    method: Annotated[
        str, typer.Option("--method", "-X", envvar="HASTEN_METHOD", help="HTTP method; POST with --body.")
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", envvar="HASTEN_HEADER", metavar="NAME:VALUE", help="Repeatable."),
    ] = None,
    body: Annotated[
        str, typer.Option("--body", envvar="HASTEN_BODY", metavar="TEXT", help="Text, or @FILE that holds it.")
    ] = "",
    admin: Annotated[
        list[str] | None,
        typer.Option(
            "--admin",
            envvar="HASTEN_ADMIN_PORTS",
            metavar="URL",
            help="Admin port of a service that the request comes through; repeatable. Default: those of this machine, "
            "127.0.0.1:9464 to 9495.",
        ),
    ] = None,
    token: Annotated[str, typer.Option("--token", envvar="HASTEN_ADMIN_TOKEN", help="Token of the admin ports.")] = "",
    wait: Annotated[
        float, duration_option("--wait", "HASTEN_WAIT", "For what goes on behind the response: messages, tasks.")
    ] = "0s",  # type: ignore[assignment]
    timeout: Annotated[
        float, duration_option("--timeout", "HASTEN_TIMEOUT", "Time until an answer must come.")
    ] = "30s",  # type: ignore[assignment]
    insecure: Annotated[  # noqa: FBT002 - a flag is what typer makes of a bool
        bool, typer.Option("--insecure", envvar="HASTEN_INSECURE", help="Accept any certificate.")
    ] = False,
    json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Send one request, and show as a waterfall what each service did for it, and where the time went.

    The request carries a traceparent by which services with hasten keep their part: the account of each request, gRPC
    calls, messages. Their admin ports tell it.

    Exit codes: 0 shown, 2 usage, 3 nobody answers, or no service tells of it.
    """
    # Over 40 lines because each option is a parameter, with its help.
    content = _body(body)
    wanted = Wanted(
        url=url,
        method=method.upper() or ("POST" if content else "GET"),
        headers=tuple(_header(text) for text in header or ()),
        body=content,
        timeout=timeout,
        verify=not insecure,
    )
    places = [parse_place(text, token).url for text in admin or ()]
    waterfall = send_and_collect(wanted, places, token, wait=wait)
    if json:
        print_json(waterfall)
    else:
        _print(waterfall)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError("--header", f"{text!r} is not of the form NAME:VALUE")
    return name.strip(), value.strip()


def _body(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise ConfigurationError("--body", f"{text[1:]} cannot be read: {error.strerror or error}") from error


def _print(waterfall: Waterfall) -> None:
    console = output()
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    sent = waterfall.sent
    took = f"{format_duration(sent.seconds)}, first byte after {format_duration(sent.first_byte)}"
    said = f" → {sent.status} in {took}, {sent.size_bytes:,} bytes"
    console.print(Text.assemble((f"{sent.method} {sent.url}", "bold"), said), soft_wrap=True)
    console.print(waterfall_table(waterfall, console.width))
    for note in waterfall.notes:
        console.print(Text(note, "yellow"), soft_wrap=True)
    if any(row.placed for row in waterfall.rows):
        console.print("Rows of other machines stand in the middle of what they are within: their clocks differ.")
    print_next(_hint(waterfall))


def _hint(waterfall: Waterfall) -> str:
    lines = [row for row in waterfall.rows if not row.service and row.bars]
    if not lines:
        return "hasten doctor records every request, and names what costs them time"
    largest = max(lines, key=lambda row: row.seconds)
    return f"{format_duration(largest.seconds)} went into {largest.kind} at {largest.name}; hasten doctor says why"

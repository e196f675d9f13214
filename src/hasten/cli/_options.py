"""Option types that several commands share."""

from typing import Annotated, Any

import typer

from hasten._core.durations import parse_duration
from hasten._core.errors import ConfigurationError


def duration(text: str | float) -> float:
    """Parse a duration option (`200ms`, `30s`) into seconds."""
    if not isinstance(text, str):
        return text
    try:
        return parse_duration(text)
    except ConfigurationError as error:
        raise typer.BadParameter(f"{error.problem}; {error.remedy}") from None


def duration_option(flag: str, variable: str, help_text: str) -> Any:
    """Return a typer option that takes a duration; its default is written as text, for example "30s"."""
    return typer.Option(flag, envvar=variable, help=help_text, parser=duration, metavar="DURATION")


JsonOption = Annotated[bool, typer.Option("--json", envvar="HASTEN_JSON", help="Print only JSON on stdout.")]
TargetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[TARGET]",
        help="module:app; default: `app` of \\[tool.hasten], else `entrypoint` of \\[tool.fastapi], "
        "else main.py, app.py or app/main.py.",
        show_default=False,
    ),
]

"""What all commands print with: data on stdout, messages on stderr, colours by NO_COLOR and terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text


def output() -> Console:
    """Return the console for results."""
    return Console(highlight=False)


def messages() -> Console:
    """Return the console for everything that is not the result."""
    return Console(stderr=True, highlight=False)


@contextmanager
def announcing() -> Iterator[Callable[[str], None]]:
    """Show what is going on on one line of a terminal, and remove it at the end; say nothing elsewhere."""
    console = messages()
    if not console.is_terminal:
        yield lambda _: None
        return

    def announce(text: str) -> None:
        console.file.write(f"\r\x1b[K{text[: console.width - 1]}")
        console.file.flush()

    try:
        yield announce
    finally:
        announce("")


def print_error(message: str) -> None:
    """Print one `error:` line on stderr."""
    messages().print(Text.assemble(("error:", "bold red"), " ", message), soft_wrap=True)


def print_next(hint: str) -> None:
    """Print the `next:` line that ends every report."""
    output().print(Text.assemble(("next:", "bold"), " ", hint), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print `value` (any msgspec-encodable object) as indented JSON, and nothing else, on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")

"""Durations as people write them: `200ms`, `30s`, `2m`, and back."""

import re

from hasten._core.errors import ConfigurationError

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h)")


def parse_duration(text: str, where: str = "duration") -> float:
    """Return the seconds that `text` says, for example 0.2 for `200ms`.

    Args:
      text: A non-negative decimal number followed by us, ms, s, m or h.
      where: The option or key that holds the text, for the error message.
    Raises:
      ConfigurationError: the text has another form.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(where, f"{text!r} is no duration", "write it like 200ms, 30s or 2m")
    return float(match[1]) * _SECONDS[match[2]]


def format_duration(seconds: float) -> str:
    """Return `seconds` with three figures in the unit a reader expects: `812 µs`, `41.2 ms`, `1.53 s`."""
    if seconds >= 0.9995:  # from here three figures round to 1.00 s
        return f"{_three_figures(seconds)} s"
    if seconds >= 0.9995e-3:
        return f"{_three_figures(seconds * 1e3)} ms"
    return f"{_three_figures(seconds * 1e6)} µs"


def _three_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"

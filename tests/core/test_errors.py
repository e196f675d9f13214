"""Errors say in one line what is wrong, where, and what to do."""

import pytest

from hasten._core.errors import (
    ConfigurationError,
    HastenError,
    InvalidMeasurement,
    MissingDependency,
    TargetUnreachable,
)


@pytest.mark.parametrize(
    ("error", "message", "exit_code"),
    [
        (
            ConfigurationError("plan.toml: rate", "-1 is not positive"),
            "plan.toml: rate: -1 is not positive",
            2,
        ),
        (ConfigurationError("--for", "no unit", "write 30s"), "--for: no unit; write 30s", 2),
        (MissingDependency("redis", "redis"), "redis is not installed; run: pip install 'hasten[redis]'", 2),
        (TargetUnreachable("http://h:1", "refused"), "http://h:1: refused", 3),
        (TargetUnreachable("main:app", "ended", "see its log"), "main:app: ended; see its log", 3),
        (InvalidMeasurement("lateness", "40 ms"), "measurement not valid: lateness: 40 ms", 3),
        (
            InvalidMeasurement("rate", "4 of 9", "ask less"),
            "measurement not valid: rate: 4 of 9; ask less",
            3,
        ),
    ],
)
def test_message_and_exit_code(error: HastenError, message: str, exit_code: int) -> None:
    """The message is one line with place, problem and remedy, and the exit code tells whose fault it was."""
    assert (str(error), error.exit_code) == (message, exit_code)


def test_values_stay_readable() -> None:
    """A caller in code reads the parts without parsing the message."""
    error = ConfigurationError("plan.toml: rate", "-1 is not positive", "give a rate above 0")
    assert (error.where, error.problem, error.remedy) == (
        "plan.toml: rate",
        "-1 is not positive",
        "give a rate above 0",
    )

"""Which bounds there are, and which values they take."""

import dataclasses
import importlib
import pkgutil
from types import ModuleType
from typing import Any

import pytest

import hasten.rpc
import tests.rpc.limits
from hasten._core.errors import ConfigurationError

WRONG: list[tuple[str, Any]] = [
    ("concurrent_handlers", 0),
    ("concurrent_handlers", 2**31),
    ("frame_bytes", 16_383),
    ("frame_bytes", 2**24),
    ("stream_window_bytes", 0),
    ("stream_window_bytes", 2**31),
    ("connection_window_bytes", 65_534),
    ("connection_window_bytes", 2**31),
    ("message_bytes", -1),
    ("message_bytes", 2**32),
    ("last_stream_id", 0),
    ("last_stream_id", 2**31),
    ("flush_messages", 0),
    ("flush_messages", 10_001),
    ("continuation_frames", -1),
    ("continuation_frames", 10_001),
]
RIGHT: list[tuple[str, Any]] = [
    ("concurrent_handlers", 1),
    ("frame_bytes", 16_384),
    ("frame_bytes", 2**24 - 1),
    ("stream_window_bytes", 1),
    ("connection_window_bytes", 65_535),
    ("message_bytes", 0),
    ("last_stream_id", 2**31 - 1),
    ("flush_messages", 1),
    ("continuation_frames", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_values_that_the_protocol_does_not_allow(name: str, value: Any) -> None:
    """A value out of range is refused with its name, the value and the range."""
    with pytest.raises(ConfigurationError, match=rf"Limits\({name}={value}\).*must be from \d+ to \d+"):
        hasten.rpc.Limits(**{name: value})


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(hasten.rpc.Limits)])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_values_that_have_no_meaning(name: str, value: Any) -> None:
    """No bound is negative, or no number."""
    with pytest.raises(ConfigurationError, match=rf"Limits\({name}={value}\).*must be from \d+ to "):
        hasten.rpc.Limits(**{name: value})


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_the_ends_of_the_ranges(name: str, value: Any) -> None:
    """The least and the largest value are taken."""
    assert getattr(hasten.rpc.Limits(**{name: value}), name) == value


def test_the_hard_bound_below_the_soft_one() -> None:
    """The connection cannot end at a header list that only fails its call."""
    with pytest.raises(ConfigurationError, match="header_list_hard_bytes"):
        hasten.rpc.Limits(header_list_bytes=2000, header_list_hard_bytes=1000)


def test_limits_are_frozen() -> None:
    """Limits are not changed once they are made: connections read them as they like."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        hasten.rpc.Limits().frame_bytes = 1  # type: ignore[misc]


def modules() -> list[ModuleType]:
    """Return the test modules of this folder."""
    names = [found.name for found in pkgutil.iter_modules(tests.rpc.limits.__path__) if found.name.startswith("test_")]
    return [importlib.import_module(f"tests.rpc.limits.{name}") for name in names]


def test_each_bound_has_a_test() -> None:
    """Each attribute of Limits is named by the `bounds` mark of a test in this folder, and no other name is."""
    marks = [
        mark
        for module in modules()
        for name, test in vars(module).items()
        if name.startswith("test_")
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "bounds"
    ]
    assert {name for mark in marks for name in mark.args} == {
        each.name for each in dataclasses.fields(hasten.rpc.Limits)
    }

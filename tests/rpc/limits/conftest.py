"""Fixtures and the marker of the tests for `hasten.rpc.Limits`."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.conftest import LoopFactory

Run = Callable[[Coroutine[Any, Any, None]], None]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bounds(*names): shows what the docstring of these attributes of Limits says")


@pytest.fixture
def run(loop_factory: LoopFactory) -> Iterator[Run]:
    """Return what runs a scenario; that nothing reached the loop's exception handler is part of every promise."""
    unhandled: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        yield runner.run
    assert not unhandled

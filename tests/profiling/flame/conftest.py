"""The browser that the tests of the page share."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.admin.live.browser import Browser, Tab, open_browser

Work = Callable[[Tab], Coroutine[Any, Any, Any]]


class Chromium:
    """A browser that lives in a loop of its own."""

    def __init__(self, runner: asyncio.Runner, browser: Browser) -> None:
        self._runner = runner
        self._browser = browser

    def do(self, work: Work) -> Any:
        """Give a new tab to `work`, and return what it makes."""
        return self._runner.run(self._do(work))

    async def _do(self, work: Work) -> Any:
        async with self._browser.tab() as tab:
            return await work(tab)


@pytest.fixture(scope="package")
def chromium(peer: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Return a browser; a test without one is skipped, or fails where every peer is required."""
    opening = open_browser(peer("chromium"), tmp_path_factory.mktemp("profile"))
    with asyncio.Runner() as runner:
        yield Chromium(runner, runner.run(opening.__aenter__()))
        runner.run(opening.__aexit__(None, None, None))

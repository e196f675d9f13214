"""The service that the tests of the live page look at."""

from collections.abc import Iterator

import pytest

from hasten.monitor._sample import Story
from tests.admin.live.services import Service


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a loaded service that all tests of this package look at and none ends."""
    running = Service(tmp_path_factory.mktemp("service"))
    try:
        running.until(_has_everything)
        yield running
    finally:
        running.end()


def _has_everything(story: Story) -> bool:
    """Whether each part of the page has something to show."""
    now = story.sample
    if now is None or len(story.points) < 4:
        return False
    return all((now.routes, now.shares, now.sites, now.caches, now.consumers, now.published, now.pools, now.objectives))

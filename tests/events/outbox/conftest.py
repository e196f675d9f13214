"""A shop in each kind of database."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.events.databases import KINDS, database_for_test
from tests.events.outbox.shop import Shop

NewShop = Callable[..., Shop]


@pytest.fixture(params=[kind for kind in KINDS if not kind.endswith("-sync")])  # a relay has none of these
def shop_at(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, str]:
    """Return a kind of database, its place, and a name that the test has alone: what a Shop is made from."""
    database = database_for_test(request.param, tmp_path)
    return request.param, database.place, uuid4().hex[:12]


@pytest.fixture
def new_shop(shop_at: tuple[str, str, str]) -> NewShop:
    """Return what makes a shop as one process has it; its tables are to be made."""
    return lambda **options: Shop(*shop_at, **options)

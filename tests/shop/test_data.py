"""The data set is the same everywhere, and a bad file is made again."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from examples.shop.data import DEFAULT_PATH, database_path, ensure, is_current

SAMPLES = {
    "products": "SELECT * FROM products WHERE id % 997 = 0",
    "related": "SELECT * FROM related WHERE product_id % 997 = 0",
    "prices": "SELECT * FROM prices WHERE product_id % 97 = 0",
    "stock": "SELECT * FROM stock WHERE product_id % 97 = 0",
    "reviews": "SELECT * FROM reviews WHERE id % 997 = 0",
    "orders": "SELECT * FROM orders WHERE id % 97 = 0",
}
CONTENT = "3d26e3e87ce0b6eb"
"""Changes only together with `VERSION`."""


def test_same_content_everywhere(data_set: Path) -> None:
    """The generator's content never changes unnoticed."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(data_set)) as connection:
        for query in SAMPLES.values():
            digest.update(repr(connection.execute(query).fetchall()).encode())
    assert digest.hexdigest()[:16] == CONTENT


@pytest.mark.parametrize(
    ("table", "rows"),
    [("products", 20_000), ("prices", 20_000), ("stock", 20_000), ("related", 160_000), ("reviews", 100_000)],
)
def test_size(data_set: Path, table: str, rows: int) -> None:
    """The data set is as large as promised."""
    with closing(sqlite3.connect(data_set)) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)


def test_related_are_of_the_same_category(data_set: Path) -> None:
    """Every related product is another one of the same category."""
    query = """SELECT count(*) FROM related JOIN products ON products.id = related.product_id
    JOIN products AS other ON other.id = related.related_id
    WHERE other.category_id <> products.category_id OR other.id = products.id"""
    with closing(sqlite3.connect(data_set)) as connection:
        assert connection.execute(query).fetchone() == (0,)


def test_current_file_is_kept(data_set: Path) -> None:
    """A complete file is not made again."""
    assert ensure(data_set) is False


def test_bad_file_is_made_again(tmp_path: Path) -> None:
    """A file that is no data set is replaced, with what SQLite had left beside it, and the events of its orders."""
    path = tmp_path / "shop.sqlite"
    path.write_bytes(b"half a file")
    for left_over in ("-wal", "-shm", "-events", "-events-wal", "-events-shm"):
        (tmp_path / f"shop.sqlite{left_over}").write_bytes(b"of the old file")
    assert ensure(path) is True
    assert is_current(path)
    assert [file.name for file in tmp_path.iterdir()] == ["shop.sqlite"]


@pytest.mark.parametrize("mark", [0, 1])
def test_other_version_is_not_current(tmp_path: Path, mark: int) -> None:
    """A file without the mark of this version, or with another, is not taken."""
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {mark}")
    assert not is_current(path)


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When making the file fails, no file is left and the next try starts anew."""
    monkeypatch.setattr("examples.shop.data.RATES", (("EUR",),))
    with pytest.raises(sqlite3.ProgrammingError):
        ensure(tmp_path / "shop.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_path() -> None:
    """The argument goes before SHOP_DATABASE, and that before the default."""
    argument = Path("argument.sqlite")
    environment = {"SHOP_DATABASE": "environment.sqlite"}
    assert database_path(argument, environment) == argument
    assert database_path(None, environment) == Path("environment.sqlite")
    assert database_path(None, {}) == DEFAULT_PATH

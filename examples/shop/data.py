"""The shop's data set: an SQLite file, generated once from a fixed seed, the same on every machine.

Every edition reads the same file. It is written beside its final name and renamed when complete, and carries
a version, so that a file left half-made or made by an older generator is made again.
"""

import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

SEED = 20_250_630
VERSION = 2
"""Raise it whenever the generator would make other content."""

PRODUCTS = 20_000
REVIEWS = 100_000
ORDER_DAYS = 35
ORDERS_PER_DAY = 900
RELATED = 8

LAST_DAY = datetime(2025, 6, 30)
DEFAULT_PATH = Path(__file__).with_name("shop.sqlite")

CATEGORIES = (
    "Lighting", "Seating", "Tables", "Storage", "Kitchen", "Garden", "Textiles", "Bath",
    "Office", "Travel", "Outdoor", "Decoration", "Bedroom", "Hallway", "Nursery", "Workshop",
    "Balcony", "Dining", "Laundry", "Pets", "Games", "Gifts", "Winter", "Picnic",
)  # fmt: skip
ADJECTIVES = (
    "Quiet", "Bright", "Folding", "Sturdy", "Slim", "Classic", "Nordic", "Rustic", "Modern", "Compact",
    "Gentle", "Heavy", "Light", "Patient", "Clever", "Plain", "Rounded", "Woven", "Tall", "Low",
)  # fmt: skip
MATERIALS = (
    "Oak", "Walnut", "Birch", "Steel", "Copper", "Linen", "Cotton", "Wool", "Leather", "Glass",
    "Ceramic", "Marble", "Bamboo", "Cork", "Rattan", "Brass", "Slate", "Felt", "Pine", "Ash",
)  # fmt: skip
NOUNS = (
    "Lamp", "Chair", "Table", "Shelf", "Bowl", "Planter", "Blanket", "Towel", "Desk", "Trolley",
    "Lantern", "Vase", "Stool", "Bench", "Cabinet", "Basket", "Kettle", "Tray", "Cushion", "Mirror",
    "Clock", "Frame", "Rug", "Curtain", "Hook", "Rack", "Box", "Jug", "Plate", "Cup",
    "Board", "Knife", "Candle", "Screen", "Mat", "Tent", "Bottle", "Case", "Stand", "Panel",
)  # fmt: skip
OPINIONS = (
    "arrived early and well packed", "looks better than in the pictures", "was easy to put together",
    "wobbles a little on our floor", "survived two moves already", "is smaller than I had thought",
    "has become everybody's favourite", "lost its colour in the sun", "does what it should",
    "was worth the wait",
)  # fmt: skip
BRANDS = ("Aalto & Daughters", "Brook", "Kestrel", "Lund", "Northfold", "Old Mill", "Perry", "Quarry Lane")
WAREHOUSES = ("Bristol", "Leeds", "Rotterdam")
RATES = (("GBP", 0.8431), ("USD", 1.0842), ("SEK", 11.2345), ("CHF", 0.9512))
CAMPAIGNS = ((1, 10), (5, 15), (11, 5))
"""Category and percent off."""

_SCHEMA = """
CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    category_id INTEGER NOT NULL REFERENCES categories (id),
    brand TEXT NOT NULL,
    colour TEXT NOT NULL,
    weight_grams INTEGER NOT NULL,
    width_mm INTEGER NOT NULL,
    height_mm INTEGER NOT NULL,
    depth_mm INTEGER NOT NULL,
    supplier_code TEXT NOT NULL,
    supplier_cents INTEGER NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE related (
    product_id INTEGER NOT NULL REFERENCES products (id),
    position INTEGER NOT NULL,
    related_id INTEGER NOT NULL REFERENCES products (id),
    PRIMARY KEY (product_id, position)
) WITHOUT ROWID;
CREATE TABLE prices (
    product_id INTEGER PRIMARY KEY REFERENCES products (id),
    list_cents INTEGER NOT NULL,
    sale_cents INTEGER,
    currency TEXT NOT NULL
);
CREATE TABLE rates (currency TEXT PRIMARY KEY, per_euro REAL NOT NULL);
CREATE TABLE campaigns (category_id INTEGER PRIMARY KEY REFERENCES categories (id), percent INTEGER NOT NULL);
CREATE TABLE stock (
    product_id INTEGER PRIMARY KEY REFERENCES products (id),
    available INTEGER NOT NULL CHECK (available >= 0),
    warehouse TEXT NOT NULL
);
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products (id),
    rating INTEGER NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL,
    total_cents INTEGER NOT NULL,
    payment_reference TEXT NOT NULL,
    day TEXT NOT NULL,
    created TEXT NOT NULL
);
"""
_INDEXES = """
CREATE INDEX products_by_category ON products (category_id);
CREATE INDEX reviews_by_product ON reviews (product_id, created);
CREATE INDEX orders_by_day ON orders (day);
"""


def _mark() -> int:
    """The value of `PRAGMA user_version` that a complete, current file carries (31 bits)."""
    return VERSION << 26 ^ SEED


def is_current(path: Path) -> bool:
    """Say whether path holds a complete data set of this version and seed.

    The mark stands in the file itself, never in a journal beside it: it is read as if nobody wrote.
    """
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as connection:
            return bool(connection.execute("PRAGMA user_version").fetchone()[0] == _mark())
    except sqlite3.DatabaseError:
        return False


def database_path(argument: Path | None, environment: Mapping[str, str]) -> Path:
    """Choose the file: the argument, else `SHOP_DATABASE`, else beside this module."""
    if argument is not None:
        return argument
    return Path(environment.get("SHOP_DATABASE") or DEFAULT_PATH)


def ensure(path: Path) -> bool:
    """Generate the data set at path unless a current one is there; True when it was made.

    Safe when several processes call it at once: each writes its own file, the last rename wins.
    """
    if is_current(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".sqlite-new", dir=path.parent)
    os.close(descriptor)
    unfinished = Path(name)
    try:
        generate(unfinished)
        # The replaced file's, they would spoil the new one: its journal, and the events of its orders.
        for left_over in ("-wal", "-shm", "-events", "-events-wal", "-events-shm"):
            path.with_name(path.name + left_over).unlink(missing_ok=True)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def generate(path: Path) -> None:
    """Write the whole data set into the empty file at path."""
    source = _Source(random.Random(SEED))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
        for table, rows in source.tables():
            _insert(connection, table, rows)
        connection.executescript(_INDEXES)
        connection.execute("ANALYZE")
        connection.execute(f"PRAGMA user_version = {_mark()}")
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")  # kept in the file: readers never wait for a writer


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    columns = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
    places = ", ".join("?" * columns)
    connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


class _Source:
    """Makes the rows of every table, in order, from one random source.

    Uses `random()` alone: the only method whose sequence Python promises to keep between versions.
    """

    def __init__(self, source: random.Random) -> None:
        self._random = source.random
        self._categories: list[int] = []
        self._cents: list[int] = []

    def tables(self) -> Iterator[tuple[str, Iterator[tuple[object, ...]]]]:
        """Yield (table, rows); each table's rows must be taken before the next table is asked for."""
        yield "categories", iter(list(enumerate(CATEGORIES, start=1)))
        yield "products", self._products()
        yield "related", self._related()
        yield "prices", self._prices()
        yield "rates", iter(RATES)
        yield "campaigns", iter(CAMPAIGNS)
        yield "stock", self._stock()
        yield "reviews", self._reviews()
        yield "orders", self._orders()

    def _between(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))

    def _pick(self, choices: Sequence[str]) -> str:
        return choices[int(self._random() * len(choices))]

    def _thing(self) -> str:
        return f"{self._pick(MATERIALS)} {self._pick(NOUNS)}"

    def _things(self, count: int) -> str:
        return ", ".join(self._thing() for _ in range(count))

    def _moment(self, days: int) -> datetime:
        return LAST_DAY - timedelta(seconds=self._between(1, days * 86_400))

    def _products(self) -> Iterator[tuple[object, ...]]:
        for identity in range(1, PRODUCTS + 1):
            brand, adjective, thing = self._pick(BRANDS), self._pick(ADJECTIVES), self._thing()
            category = self._between(1, len(CATEGORIES))
            self._categories.append(category)
            description = (
                f"A {adjective.lower()} {thing.lower()} by {brand}, made to be used every day and repaired "
                f"when needed. Goes well with our {self._things(2)} and {self._thing()}. "
                f"Who bought it also looked at the {self._things(4)} and {self._thing()}."
            )
            sizes = (self._between(50, 9_000), *(self._between(40, 1_800) for _ in range(3)))
            supplier = (f"S-{self._between(10_000, 99_999)}", self._between(100, 20_000))
            yield (
                identity, f"{adjective} {thing}", description, category, brand, self._pick(MATERIALS).lower(),
                *sizes, *supplier, self._moment(900).isoformat(),
            )  # fmt: skip

    def _related(self) -> Iterator[tuple[object, ...]]:
        members: dict[int, list[int]] = {}
        for identity, category in enumerate(self._categories, start=1):
            members.setdefault(category, []).append(identity)
        for identity, category in enumerate(self._categories, start=1):
            chosen: dict[int, None] = {}
            same = members[category]
            while len(chosen) < RELATED:
                other = same[int(self._random() * len(same))]
                if other != identity:
                    chosen[other] = None
            yield from ((identity, position, other) for position, other in enumerate(chosen))

    def _prices(self) -> Iterator[tuple[object, ...]]:
        for identity in range(1, PRODUCTS + 1):
            cents = self._between(5, 600) * 100 - 1
            sale = int(cents * 0.8) if self._random() < 0.2 else None
            self._cents.append(sale if sale is not None else cents)
            yield identity, cents, sale, "EUR"

    def _stock(self) -> Iterator[tuple[object, ...]]:
        for identity in range(1, PRODUCTS + 1):
            yield identity, self._between(50, 500), self._pick(WAREHOUSES)

    def _reviews(self) -> Iterator[tuple[object, ...]]:
        for identity in range(1, REVIEWS + 1):
            opinions = self._pick(OPINIONS), self._pick(OPINIONS)
            yield (
                identity, self._between(1, PRODUCTS), self._between(1, 5), f"It {opinions[0]}",
                f"It {opinions[0]}, and it {opinions[1]}.", f"customer-{self._between(1, 30_000)}",
                self._moment(700).isoformat(),
            )  # fmt: skip

    def _orders(self) -> Iterator[tuple[object, ...]]:
        identity = 0
        for back in reversed(range(ORDER_DAYS)):
            day = LAST_DAY - timedelta(days=back)
            for _ in range(ORDERS_PER_DAY):
                identity += 1
                product, quantity = self._between(1, PRODUCTS), self._between(1, 3)
                created = day + timedelta(seconds=self._between(0, 86_399))
                yield (
                    identity, product, quantity, quantity * self._cents[product - 1], f"seed-{identity}",
                    day.date().isoformat(), created.isoformat(),
                )  # fmt: skip


def ensure_with_notice(path: Path) -> None:
    """Like `ensure`, saying on stderr that it takes a moment."""
    if not is_current(path):
        print(f"shop: making the data set {path} (once, some seconds)", file=sys.stderr, flush=True)
        ensure(path)

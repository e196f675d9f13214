"""The fast edition and the peers' tell the public what the slow one tells, to the byte."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.shop.running import Shop, launch

PRODUCT = 4_711
LEVEL = "SELECT available FROM stock WHERE product_id = ?"
DEAR = """
SELECT product_id, available FROM stock JOIN prices USING (product_id)
WHERE available * coalesce(sale_cents, list_cents) * 0.8 > 11000000 LIMIT 1
"""
READING = [
    *(f"/products/{product}" for product in (1, 2, 3, PRODUCT, 10_000, 20_000)),
    *("/products/0", "/products/-1", "/products/20001", "/products/first", "/products/1.5"),
    *("/search?q=oak+lamp", "/search?q=Walnut+DESK", "/search?q=nothing+like+this", "/search?q=in", "/search?q=%25%25"),
    *("/search?q=a%00b", "/search?q=%F0%9F%92%A1%F0%9F%92%A1", "/search?q=it%27s", "/search?q=a%5Cb"),
    *("/search", "/search?q=a", f"/search?q={'a' * 81}"),
    *("/reports/daily", "/health", "/nowhere"),
]
OTHERS = ("fast", "peers")
Shops = Mapping[str, Shop]


@pytest.fixture(scope="module")
def shops(data_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    """All editions, each on a data set of its own."""
    with ExitStack() as stack:
        running = {}
        for edition in ("slow", *OTHERS):
            database = Path(shutil.copy(data_set, tmp_path_factory.mktemp(edition) / "shop.sqlite"))
            launched = launch(["-m", "examples.shop", edition, "--port", "0", "--database", str(database)])
            stack.callback(launched.stop)
            http = stack.enter_context(httpx.Client(base_url=launched.url, timeout=20))
            running[edition] = Shop(http, database)
        yield running


def told(answer: httpx.Response) -> tuple[int, bytes, str, bool]:
    """What an answer says."""
    return (
        answer.status_code,
        answer.content,
        answer.headers["content-type"],
        "x-response-time-ms" in answer.headers,
    )


@pytest.mark.parametrize("path", READING)
def test_reading(shops: Shops, path: str) -> None:
    """Every page, found or not, is the same."""
    slow, *others = (told(shops[edition].http.get(path)) for edition in ("slow", *OTHERS))
    assert others == [slow] * len(OTHERS)


@pytest.mark.parametrize(
    "order",
    [
        {"product_id": PRODUCT, "quantity": 2},
        {"product_id": PRODUCT, "quantity": 1, "email": "somebody@shop.example"},
        {"product_id": 20_001, "quantity": 1},
        {"product_id": PRODUCT, "quantity": 600},
        {"product_id": 0, "quantity": 1},
        {"product_id": PRODUCT, "quantity": 1_001},
        {"quantity": 1},
        [],
    ],
    ids=["two", "with address", "unknown", "not enough", "no product", "too many", "incomplete", "no order"],
)
def test_ordering(shops: Shops, order: Any) -> None:
    """Every order, taken or refused, is answered the same and leaves the same."""
    slow, *others = (told(shops[edition].http.post("/orders", json=order)) for edition in ("slow", *OTHERS))
    assert others == [slow] * len(OTHERS)
    left = [(shop.value(LEVEL, PRODUCT), shop.value("SELECT count(*) FROM orders")) for shop in shops.values()]
    assert left == [left[0]] * len(left)


def test_declined(shops: Shops) -> None:
    """A payment that was declined is told the same, and the pieces are back."""
    product, available = shops["slow"].rows(DEAR)[0]
    order = {"product_id": product, "quantity": available}
    slow, *others = (told(shops[edition].http.post("/orders", json=order)) for edition in ("slow", *OTHERS))
    assert others == [slow] * len(OTHERS)
    assert [shop.value(LEVEL, product) for shop in shops.values()] == [available] * len(shops)


@pytest.mark.parametrize("edition", OTHERS)
def test_number_too_large(shops: Shops, edition: str) -> None:
    """A number that no product can have is 422; the slow edition answers 500."""
    http = shops[edition].http
    assert http.get(f"/products/{2**63}").status_code == 422
    assert http.get(f"/products/{-(2**63)}").status_code == 422
    assert http.post("/orders", json={"product_id": 2**63, "quantity": 1}).status_code == 422
    assert http.get(f"/products/{2**63 - 1}").status_code == 404


@pytest.mark.parametrize("edition", OTHERS)
def test_openapi(shops: Shops, edition: str) -> None:
    """What the slow edition's OpenAPI document promises, the others' promise too."""
    slow, other = (shops[name].http.get("/openapi.json").json() for name in ("slow", edition))
    assert other["paths"].keys() == slow["paths"].keys()
    for path, methods in slow["paths"].items():
        assert other["paths"][path].keys() == methods.keys()
        for method, operation in methods.items():
            answers = other["paths"][path][method]["responses"]
            for status in operation["responses"].keys() - {"422"}:
                promised = operation["responses"][status]["content"]["application/json"]["schema"]
                assert answers[status]["content"]["application/json"]["schema"].get("$ref") == promised.get("$ref")
    for name, schema in slow["components"]["schemas"].items():
        assert other["components"]["schemas"][name]["properties"].keys() == schema["properties"].keys()


@pytest.mark.parametrize("edition", OTHERS)
def test_order_in_flight(data_set: Path, tmp_path: Path, edition: str) -> None:
    """An order that is under way when the edition is told to stop is taken, paid and written."""
    database = Path(shutil.copy(data_set, tmp_path / "shop.sqlite"))
    launched = launch(["-m", "examples.shop", edition, "--port", "0", "--database", str(database)])
    answers: list[httpx.Response] = []

    def order() -> None:
        answers.append(httpx.post(f"{launched.url}/orders", json={"product_id": PRODUCT, "quantity": 1}, timeout=20))

    with httpx.Client() as http:
        shop = Shop(http, database)
        before, give_up = shop.value(LEVEL, PRODUCT), time.monotonic() + 20
        ordering = Thread(target=order)
        ordering.start()
        while shop.value(LEVEL, PRODUCT) == before and time.monotonic() < give_up:
            pass  # its payment takes 30 ms more
        code = launched.stop()
        ordering.join()
    assert code == 0
    assert [answer.status_code for answer in answers] == [201]
    assert shop.value("SELECT count(*) FROM orders WHERE id = ?", answers[0].json()["order_id"]) == 1

"""The public API tells what the database holds, in every edition."""

from typing import Any

import pytest

from tests.shop.running import Shop

EDITIONS = ["slow", "fast", "fast with Redis", "peers", "peers with Redis"]
PRODUCT_ID = 4_711

PRICE = """
SELECT list_cents, coalesce(sale_cents, list_cents) * (100 - coalesce(percent, 0)) / 100, currency
FROM prices JOIN products ON products.id = prices.product_id
LEFT JOIN campaigns ON campaigns.category_id = products.category_id WHERE prices.product_id = ?
"""
LEVEL = "SELECT available FROM stock WHERE product_id = ?"

pytestmark = pytest.mark.parametrize("shop", EDITIONS, indirect=True)


def price_of(shop: Shop, product_id: int) -> dict[str, Any]:
    """The price that the database stands for, converted by its rates."""
    list_cents, cents, currency = shop.rows(PRICE, product_id)[0]
    rates = shop.rows("SELECT currency, per_euro FROM rates")
    return {
        "list_cents": list_cents,
        "amount_cents": cents,
        "currency": currency,
        "converted": {other: round(cents * rate) for other, rate in rates},
    }


def page(shop: Shop, product_id: int) -> Any:
    """A product's page, which must be there."""
    answer = shop.http.get(f"/products/{product_id}")
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize("product_id", [1, PRODUCT_ID, 20_000])
def test_product(shop: Shop, product_id: int) -> None:
    """A product's page shows the product, its price with campaigns and sales, and its stock."""
    shown = page(shop, product_id)
    columns = "products.id, products.name, description, categories.name, brand, colour"
    join = "products JOIN categories ON categories.id = category_id"
    product = shop.rows(f"SELECT {columns} FROM {join} WHERE products.id = ?", product_id)[0]
    keys = ("id", "name", "description", "category", "brand", "colour")
    assert tuple(shown[key] for key in keys) == product
    assert shown["price"] == price_of(shop, product_id)
    level = shop.rows("SELECT available, warehouse FROM stock WHERE product_id = ?", product_id)[0]
    assert (shown["stock"]["available"], shown["stock"]["warehouse"]) == level
    assert set(shown) == {*keys, "price", "stock", "reviews", "related"}


@pytest.mark.parametrize(("column", "wanted"), [("list_cents > 0", False), ("percent > 0", True)])
def test_campaign(shop: Shop, column: str, wanted: bool) -> None:  # noqa: FBT001 - a parameter of the cases
    """A campaign lowers the price of its category's products and of no other."""
    campaign = "IS NOT NULL" if wanted else "IS NULL"
    query = f"""SELECT products.id, coalesce(sale_cents, list_cents) FROM products
    JOIN prices ON prices.product_id = products.id LEFT JOIN campaigns USING (category_id)
    WHERE percent {campaign} AND {column} LIMIT 1"""
    product_id, before = shop.rows(query)[0]
    assert (page(shop, product_id)["price"]["amount_cents"] < before) is wanted


def test_reviews(shop: Shop) -> None:
    """A product's page shows its ten newest reviews, their average and the category's."""
    product_id = shop.value("SELECT product_id FROM reviews GROUP BY product_id HAVING count(*) > 10 LIMIT 1")
    shown = page(shop, product_id)["reviews"]
    query = "SELECT rating, title, body, author, created FROM reviews WHERE product_id = ?"
    newest = shop.rows(f"{query} ORDER BY created DESC, id LIMIT 10", product_id)
    assert [tuple(review.values()) for review in shown["recent"]] == newest
    everything = shop.rows("SELECT count(*), avg(rating) FROM reviews WHERE product_id = ?", product_id)[0]
    assert (shown["count"], shown["average"]) == (everything[0], pytest.approx(everything[1]))
    category = shop.value("SELECT category_id FROM products WHERE id = ?", product_id)
    members = "SELECT id FROM products WHERE category_id = ?"
    average = shop.value(f"SELECT avg(rating) FROM reviews WHERE product_id IN ({members})", category)
    assert shown["category_average"] == pytest.approx(average)


def test_no_reviews(shop: Shop) -> None:
    """A product that nobody reviewed says so, and still shows its category's average."""
    product_id = shop.value("SELECT id FROM products WHERE id NOT IN (SELECT product_id FROM reviews) LIMIT 1")
    shown = page(shop, product_id)["reviews"]
    assert (shown["count"], shown["average"], shown["recent"]) == (0, None, [])
    assert 1 <= shown["category_average"] <= 5


def test_related(shop: Shop) -> None:
    """A product's page shows eight related products in their order, each with its own price and stock."""
    related = page(shop, PRODUCT_ID)["related"]
    query = "SELECT related_id FROM related WHERE product_id = ? ORDER BY position"
    assert [item["id"] for item in related] == [row[0] for row in shop.rows(query, PRODUCT_ID)]
    assert len(related) == 8
    for item in related:
        price = price_of(shop, item["id"])
        assert item == {
            "id": item["id"],
            "name": shop.value("SELECT name FROM products WHERE id = ?", item["id"]),
            "amount_cents": price["amount_cents"],
            "currency": price["currency"],
            "converted": price["converted"],
            "available": shop.value(LEVEL, item["id"]),
        }


@pytest.mark.parametrize("words", ["oak lamp", "Walnut DESK", "quarry lane", "nothing like this", "%%", "100_"])
def test_search(shop: Shop, words: str) -> None:
    """A search finds by name and description, in any case, at most 100; % and _ mean themselves."""
    answer = shop.http.get("/search", params={"q": words})
    assert answer.status_code == 200
    everything = shop.rows("SELECT id, name || ' ' || description FROM products ORDER BY id")
    expected = [product_id for product_id, text in everything if words.lower() in text.lower()]
    assert [product["id"] for product in answer.json()["products"]] == expected[:100]


def test_search_hides_the_supplier(shop: Shop) -> None:
    """What a product costs the shop is in no answer."""
    for product in shop.http.get("/search", params={"q": "oak lamp"}).json()["products"]:
        assert not [key for key in product if key.startswith("supplier")]


def test_report(shop: Shop) -> None:
    """The daily report's totals are those of the database for the last 35 days with orders."""
    shown = shop.http.get("/reports/daily").json()
    days = shop.rows(
        "SELECT day, count(*), sum(quantity), sum(total_cents), max(total_cents)"
        " FROM orders GROUP BY day ORDER BY day DESC LIMIT 35"
    )
    assert [tuple(day.values()) for day in shown["days"]] == days[::-1]
    assert shown["orders"] == sum(day[1] for day in days)
    assert shown["revenue_cents"] == sum(day[3] for day in days)


def test_order(shop: Shop) -> None:
    """An order lowers the stock once, is written once, and tells what was paid."""
    before = shop.value(LEVEL, PRODUCT_ID)
    answer = shop.http.post("/orders", json={"product_id": PRODUCT_ID, "quantity": 3})
    assert answer.status_code == 201
    order = answer.json()
    assert order["total_cents"] == 3 * price_of(shop, PRODUCT_ID)["amount_cents"]
    written = shop.rows("SELECT product_id, quantity, total_cents FROM orders WHERE id = ?", order["order_id"])
    assert written == [(PRODUCT_ID, 3, order["total_cents"])]
    reference = "SELECT count(*) FROM orders WHERE payment_reference = ?"
    assert shop.value(reference, order["payment_reference"]) == 1
    assert shop.value(LEVEL, PRODUCT_ID) == before - 3


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"product_id": 20_001, "quantity": 1}, 404),
        ({"product_id": PRODUCT_ID, "quantity": 501}, 409),
        ({"product_id": PRODUCT_ID, "quantity": 0}, 422),
        ({"product_id": PRODUCT_ID}, 422),
        ({"product_id": "a", "quantity": 1}, 422),
    ],
    ids=["unknown", "not enough", "none", "no quantity", "no number"],
)
def test_order_refused(shop: Shop, order: dict[str, object], status: int) -> None:
    """An order that cannot be taken says why and changes nothing."""
    state = "SELECT (SELECT sum(available) FROM stock), (SELECT count(*) FROM orders)"
    before = shop.rows(state)
    assert shop.http.post("/orders", json=order).status_code == status
    assert shop.rows(state) == before


def test_payment_declined(shop: Shop) -> None:
    """A declined payment is answered with 402, and the pieces go back into stock."""
    query = """SELECT product_id, available FROM stock JOIN prices USING (product_id)
    WHERE available * coalesce(sale_cents, list_cents) * 0.8 > 11000000 LIMIT 1"""
    product_id, available = shop.rows(query)[0]
    answer = shop.http.post("/orders", json={"product_id": product_id, "quantity": available})
    assert answer.status_code == 402
    assert shop.value(LEVEL, product_id) == available


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/products/0", 404),
        ("/products/20001", 404),
        ("/products/first", 422),
        ("/search", 422),
        ("/search?q=a", 422),
        ("/health", 200),
    ],
)
def test_status(shop: Shop, path: str, status: int) -> None:
    """What is not there is 404, what cannot be understood is 422, and the shop says that it lives."""
    assert shop.http.get(path).status_code == status

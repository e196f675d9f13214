"""catalog: products, what goes with them, and the search."""

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from examples.shop.slow.database import database
from examples.shop.slow.models import FoundRecords, Product, SearchResults

PRODUCT = """
SELECT products.id, products.name, description, categories.name AS category, brand, colour
FROM products JOIN categories ON categories.id = products.category_id WHERE products.id = ?
"""
RELATED = """
SELECT products.id, products.name FROM related JOIN products ON products.id = related.related_id
WHERE related.product_id = ? ORDER BY position
"""
SEARCH = """
SELECT products.id, products.name, description, categories.name AS category, brand, colour, weight_grams,
    width_mm, height_mm, depth_mm, supplier_code, supplier_cents, created
FROM products JOIN categories ON categories.id = products.category_id
WHERE products.name LIKE :pattern ESCAPE '\\' OR description LIKE :pattern ESCAPE '\\'
ORDER BY products.id LIMIT :limit
"""
SEARCH_LIMIT = 100
DIMENSIONS = ("weight_grams", "width_mm", "height_mm", "depth_mm")

app = FastAPI(title="catalog")


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


def load_product(product_id: int) -> dict[str, Any] | None:
    """Read a product with the names of its related ones; None for an unknown one."""
    connection = database.connection()
    product = connection.execute(PRODUCT, (product_id,)).fetchone()
    if product is None:
        return None
    related = connection.execute(RELATED, (product_id,)).fetchall()
    return {**product, "related": [dict(row) for row in related]}


def find_products(words: str) -> list[dict[str, Any]]:
    """Read the products in whose name or description the words stand together, in any case."""
    literal = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = database.connection().execute(SEARCH, {"pattern": f"%{literal}%", "limit": SEARCH_LIMIT})
    return [{**row, "dimensions": {name: row[name] for name in DIMENSIONS}} for row in rows]


@app.get("/products/{product_id}", response_model=Product)
async def product(product_id: int) -> dict[str, Any]:
    """Return one product."""
    found = await asyncio.to_thread(load_product, product_id)
    if found is None:
        raise HTTPException(404, "no such product")
    return found


@app.get("/search", response_model=SearchResults)
async def search(q: Annotated[str, Query(min_length=2, max_length=80)]) -> FoundRecords:
    """Return the products that match, at most 100; the supplier's side is left out of the answer."""
    rows = await asyncio.to_thread(find_products, q)
    return FoundRecords.model_validate({"query": q, "products": rows})  # fault: double-validation

"""reviews: what customers think, and how a product compares with its category."""

from typing import Any

from fastapi import FastAPI

from examples.shop.slow.database import database
from examples.shop.slow.models import Reviews

RECENT = """
SELECT rating, title, body, author, created, count(*) OVER () AS count, avg(rating) OVER () AS average
FROM reviews WHERE product_id = ? ORDER BY created DESC, id LIMIT 10
"""
CATEGORY_AVERAGE = """
SELECT avg(reviews.rating) FROM products AS asked
JOIN products ON products.category_id = asked.category_id JOIN reviews ON reviews.product_id = products.id
WHERE asked.id = ?
"""

app = FastAPI(title="reviews")


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


@app.get("/products/{product_id}/reviews", response_model=Reviews)
async def reviews(product_id: int) -> dict[str, Any]:
    """Return the newest reviews of a product with its average and that of its category."""
    connection = database.connection()
    recent = connection.execute(RECENT, (product_id,)).fetchall()
    category = connection.execute(CATEGORY_AVERAGE, (product_id,)).fetchone()[0]  # fault: blocking-sqlite
    return {
        "count": recent[0]["count"] if recent else 0,
        "average": recent[0]["average"] if recent else None,
        "category_average": category,
        "recent": [dict(row) for row in recent],
    }

"""stock: how many pieces are left, and the only place that changes it."""

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from examples.shop.slow.database import database
from examples.shop.slow.models import Level, LevelChange, Levels

CHANGE = """
UPDATE stock SET available = available + :change WHERE product_id = :product_id AND available + :change >= 0
RETURNING product_id, available, warehouse
"""

app = FastAPI(title="stock")


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service runs."""
    return {"status": "ok"}


def load_level(product_id: int) -> dict[str, Any] | None:
    """Read the level of one product; None for an unknown one."""
    query = "SELECT product_id, available, warehouse FROM stock WHERE product_id = ?"
    row = database.connection().execute(query, (product_id,)).fetchone()
    return None if row is None else dict(row)


def load_levels(product_ids: list[int]) -> dict[int, int]:
    """Read the levels of several products."""
    places = ", ".join("?" * len(product_ids))
    query = f"SELECT product_id, available FROM stock WHERE product_id IN ({places})"
    return dict(database.connection().execute(query, product_ids).fetchall())


def change_level(product_id: int, change: int) -> dict[str, Any] | None:
    """Change a level and return the new one; None when there are not enough pieces."""
    connection = database.connection()
    with connection:
        row = connection.execute(CHANGE, {"product_id": product_id, "change": change}).fetchone()
    return None if row is None else dict(row)


@app.get("/levels/{product_id}", response_model=Level)
async def level(product_id: int) -> dict[str, Any]:
    """Return the level of one product."""
    found = await asyncio.to_thread(load_level, product_id)
    if found is None:
        raise HTTPException(404, "no such product")
    return found


@app.get("/levels", response_model=Levels)
async def levels(product_id: Annotated[list[int], Query(min_length=1, max_length=100)]) -> dict[str, Any]:
    """Return the levels of several products."""
    return {"levels": await asyncio.to_thread(load_levels, product_id)}


@app.post("/levels/{product_id}/changes", response_model=Level)
async def change(product_id: int, wanted: LevelChange) -> dict[str, Any]:
    """Take pieces out or put them back; 409 when not enough are there."""
    changed = await asyncio.to_thread(change_level, product_id, wanted.change)
    if changed is None:
        raise HTTPException(409, "not enough pieces in stock")
    return changed

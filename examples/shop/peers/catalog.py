"""catalog: products, what goes with them, and the search."""

import sqlite3
from typing import Any

import grpc.aio

from examples.shop.fast.database import Database
from examples.shop.proto.catalog_pb2 import (
    DESCRIPTOR,
    Dimensions,
    FoundProduct,
    GetProductRequest,
    Product,
    RelatedProduct,
    SearchReply,
    SearchRequest,
)
from examples.shop.proto.catalog_pb2_grpc import CatalogServicer, add_CatalogServicer_to_server

PRODUCT = """
SELECT products.id, products.name, description, categories.name AS category, brand, colour
FROM products JOIN categories ON categories.id = products.category_id WHERE products.id = ?
"""
RELATED = """
SELECT products.id, products.name FROM related JOIN products ON products.id = related.related_id
WHERE related.product_id = ? ORDER BY position
"""
SEARCH = """
SELECT products.id, products.name, description, categories.name AS category, brand, colour,
    weight_grams, width_mm, height_mm, depth_mm, created
FROM products JOIN categories ON categories.id = products.category_id
WHERE products.name LIKE :pattern ESCAPE '\\' OR description LIKE :pattern ESCAPE '\\'
ORDER BY products.id LIMIT :limit
"""
SEARCH_LIMIT = 100


class Catalog(CatalogServicer):
    """`shop.v1.Catalog` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetProduct(  # noqa: N802
        self, request: GetProductRequest, context: grpc.aio.ServicerContext[GetProductRequest, Product]
    ) -> Product:
        """Return a product with the names of its related ones."""
        product = await self._database.read(load_product, request.product_id)
        if product is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such product")
        return product

    async def Search(  # noqa: N802
        self, request: SearchRequest, context: grpc.aio.ServicerContext[SearchRequest, SearchReply]
    ) -> SearchReply:
        """Return the products in whose name or description the words stand."""
        return await self._database.read(find_products, request.words)


def load_product(connection: sqlite3.Connection, product_id: int) -> Product | None:
    """Read a product with the names of its related ones; None for an unknown one."""
    row = connection.execute(PRODUCT, (product_id,)).fetchone()
    if row is None:
        return None
    related = connection.execute(RELATED, (product_id,))
    return Product(**row, related=[RelatedProduct(**other) for other in related])


def find_products(connection: sqlite3.Connection, words: str) -> SearchReply:
    """Read the products in whose name or description the words stand together, in any case."""
    literal = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = connection.execute(SEARCH, {"pattern": f"%{literal}%", "limit": SEARCH_LIMIT})
    return SearchReply(products=[found_product(**row) for row in rows])


def found_product(weight_grams: int, width_mm: int, height_mm: int, depth_mm: int, **columns: Any) -> FoundProduct:
    """Make a product of a search from the columns of its row."""
    dimensions = Dimensions(weight_grams=weight_grams, width_mm=width_mm, height_mm=height_mm, depth_mm=depth_mm)
    return FoundProduct(dimensions=dimensions, **columns)


async def add_service(server: grpc.aio.Server, database: Database) -> str:
    """Add the catalog to a server and return the service's full name."""
    add_CatalogServicer_to_server(Catalog(database), server)
    return DESCRIPTOR.services_by_name["Catalog"].full_name

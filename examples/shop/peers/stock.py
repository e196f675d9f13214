"""stock: how many pieces are left, and the only place that changes it."""

import sqlite3
from collections.abc import Sequence

import grpc.aio

from examples.shop.fast.database import Database
from examples.shop.proto.stock_pb2 import DESCRIPTOR, ChangeLevelRequest, GetLevelsReply, GetLevelsRequest, Level
from examples.shop.proto.stock_pb2_grpc import StockServicer, add_StockServicer_to_server

CHANGE = """
UPDATE stock SET available = available + :change WHERE product_id = :product_id AND available + :change >= 0
RETURNING product_id, available, warehouse
"""
LARGEST_BATCH = 100
LARGEST_CHANGE = 1_000


class Stock(StockServicer):
    """`shop.v1.Stock` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetLevels(  # noqa: N802
        self, request: GetLevelsRequest, context: grpc.aio.ServicerContext[GetLevelsRequest, GetLevelsReply]
    ) -> GetLevelsReply:
        """Return the levels of several products, read by one query."""
        if len(request.product_ids) > LARGEST_BATCH:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"more than {LARGEST_BATCH} products")
        return GetLevelsReply(levels=await self._database.read(load_levels, request.product_ids))

    async def ChangeLevel(  # noqa: N802
        self, request: ChangeLevelRequest, context: grpc.aio.ServicerContext[ChangeLevelRequest, Level]
    ) -> Level:
        """Take pieces out or put them back, and return the new level."""
        if abs(request.change) > LARGEST_CHANGE:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"more than {LARGEST_CHANGE} pieces")
        changed = await self._database.write(change_level, request.product_id, request.change)
        if changed is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not enough pieces in stock")
        return changed


def load_levels(connection: sqlite3.Connection, product_ids: Sequence[int]) -> list[Level]:
    """Read the levels of several products."""
    places = ", ".join("?" * len(product_ids))
    query = f"SELECT product_id, available, warehouse FROM stock WHERE product_id IN ({places})"
    return [Level(**row) for row in connection.execute(query, product_ids)]


def change_level(connection: sqlite3.Connection, product_id: int, change: int) -> Level | None:
    """Change a level and return the new one; None when there are not enough pieces."""
    row = connection.execute(CHANGE, {"product_id": product_id, "change": change}).fetchone()
    return None if row is None else Level(**row)


async def add_service(server: grpc.aio.Server, database: Database) -> str:
    """Add stock to a server and return the service's full name."""
    add_StockServicer_to_server(Stock(database), server)
    return DESCRIPTOR.services_by_name["Stock"].full_name

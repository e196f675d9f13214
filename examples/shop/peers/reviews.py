"""reviews: what customers think, and how a product compares with its category.

The average of a category takes some 4,000 rows, and there are a few dozen categories: cashews keeps them.
"""

import sqlite3

import grpc.aio
from cashews import Cache

from examples.shop.fast.database import Database
from examples.shop.peers.freshness import FRESH, STALE
from examples.shop.proto.reviews_pb2 import DESCRIPTOR, GetReviewsReply, GetReviewsRequest, Review
from examples.shop.proto.reviews_pb2_grpc import ReviewsServicer, add_ReviewsServicer_to_server

TOTALS = "SELECT count(*) AS count, avg(rating) AS average FROM reviews WHERE product_id = ?"
RECENT = """
SELECT rating, title, body, author, created FROM reviews WHERE product_id = ? ORDER BY created DESC, id LIMIT 10
"""
CATEGORY = "SELECT category_id FROM products WHERE id = ?"
CATEGORY_AVERAGE = """
SELECT avg(reviews.rating) FROM products JOIN reviews ON reviews.product_id = products.id
WHERE products.category_id = ?
"""


class Reviews(ReviewsServicer):
    """`shop.v1.Reviews` over the database."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._average = cache.early(ttl=STALE, early_ttl=FRESH, key="category:{category_id}")(self._load_average)

    async def GetReviews(  # noqa: N802
        self, request: GetReviewsRequest, context: grpc.aio.ServicerContext[GetReviewsRequest, GetReviewsReply]
    ) -> GetReviewsReply:
        """Return the newest reviews of a product with its average and that of its category."""
        reply, category_id = await self._database.read(load_reviews, request.product_id)
        average = None if category_id is None else await self._average(category_id=category_id)
        if average is not None:
            reply.category_average = average
        return reply

    async def _load_average(self, category_id: int) -> float | None:
        return await self._database.read(load_category_average, category_id)


def load_reviews(connection: sqlite3.Connection, product_id: int) -> tuple[GetReviewsReply, int | None]:
    """Read how many reviews a product has, their average, and the newest; and its category, None for an unknown one."""
    totals = connection.execute(TOTALS, (product_id,)).fetchone()
    recent = connection.execute(RECENT, (product_id,))
    category = connection.execute(CATEGORY, (product_id,)).fetchone()
    reply = GetReviewsReply(**totals, recent=[Review(**row) for row in recent])
    return reply, None if category is None else category["category_id"]


def load_category_average(connection: sqlite3.Connection, category_id: int) -> float | None:
    """Read the average of all reviews in a category."""
    average: float | None = connection.execute(CATEGORY_AVERAGE, (category_id,)).fetchone()[0]
    return average


async def add_service(server: grpc.aio.Server, database: Database) -> str:
    """Add reviews to a server and return the service's full name."""
    cache = Cache()
    cache.setup("mem://", check_interval=0)
    add_ReviewsServicer_to_server(Reviews(database, cache), server)
    return DESCRIPTOR.services_by_name["Reviews"].full_name

"""reviews: what customers think, and how a product compares with its category, whose average takes some 4,000 rows."""

import sqlite3

import grpc.aio

from examples.shop.fast.database import Database
from examples.shop.fast.serving import Resources
from examples.shop.proto.reviews_pb2 import DESCRIPTOR, GetReviewsReply, GetReviewsRequest, Review
from examples.shop.proto.reviews_pb2_grpc import ReviewsServicer, add_ReviewsServicer_to_server
from hasten.cache import Cache

TOTALS = "SELECT count(*) AS count, avg(rating) AS average FROM reviews WHERE product_id = ?"
RECENT = """
SELECT rating, title, body, author, created FROM reviews WHERE product_id = ? ORDER BY created DESC, id LIMIT 10
"""
CATEGORY = "SELECT category_id FROM products WHERE id = ?"
CATEGORY_AVERAGE = "SELECT avg(rating) FROM reviews JOIN products ON products.id = product_id WHERE category_id = ?"


class Reviews(ReviewsServicer):
    """`shop.v1.Reviews` over the database."""

    def __init__(self, database: Database, cache: Cache) -> None:
        @cache.cached(ttl=60.0, stale=600.0, name="category")
        async def category_average(category_id: int) -> float | None:
            return await database.read(load_category_average, category_id)

        self._database, self._category_average = database, category_average

    async def GetReviews(  # noqa: N802
        self, request: GetReviewsRequest, context: grpc.aio.ServicerContext[GetReviewsRequest, GetReviewsReply]
    ) -> GetReviewsReply:
        """Return the newest reviews of a product with its average and that of its category."""
        reply, category_id = await self._database.read(load_reviews, request.product_id)
        average = None if category_id is None else await self._category_average(category_id)
        if average is not None:
            reply.category_average = average
        return reply


def load_reviews(connection: sqlite3.Connection, product_id: int) -> tuple[GetReviewsReply, int | None]:
    """Read how many reviews a product has, their average, and the newest; and the product's category."""
    totals = connection.execute(TOTALS, (product_id,)).fetchone()
    recent = [Review(**row) for row in connection.execute(RECENT, (product_id,))]
    category = connection.execute(CATEGORY, (product_id,)).fetchone()
    return GetReviewsReply(**totals, recent=recent), category and category[0]


def load_category_average(connection: sqlite3.Connection, category_id: int) -> float | None:
    """Read the average of all reviews in a category."""
    average: float | None = connection.execute(CATEGORY_AVERAGE, (category_id,)).fetchone()[0]
    return average


async def add_service(server: grpc.aio.Server, resources: Resources) -> str:
    """Add reviews to a server and return the service's full name."""
    add_ReviewsServicer_to_server(Reviews(resources.database, resources.cache), server)
    return DESCRIPTOR.services_by_name["Reviews"].full_name

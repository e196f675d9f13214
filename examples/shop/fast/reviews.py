"""reviews: what customers think, and how a product compares with its category."""

import asyncio
import sqlite3

import grpc.aio

from examples.shop.fast.database import Database
from examples.shop.fast.serving import Resources
from examples.shop.proto.reviews_pb2 import DESCRIPTOR, GetReviewsReply, GetReviewsRequest, Review
from examples.shop.proto.reviews_pb2_grpc import ReviewsServicer, add_ReviewsServicer_to_server

TOTALS = "SELECT count(*) AS count, avg(rating) AS average FROM reviews WHERE product_id = ?"
RECENT = """
SELECT rating, title, body, author, created FROM reviews WHERE product_id = ? ORDER BY created DESC, id LIMIT 10
"""
CATEGORY_AVERAGE = """
SELECT avg(reviews.rating) FROM products AS asked
JOIN products ON products.category_id = asked.category_id JOIN reviews ON reviews.product_id = products.id
WHERE asked.id = ?
"""


class Reviews(ReviewsServicer):
    """`shop.v1.Reviews` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def GetReviews(  # noqa: N802
        self, request: GetReviewsRequest, context: grpc.aio.ServicerContext[GetReviewsRequest, GetReviewsReply]
    ) -> GetReviewsReply:
        """Return the newest reviews of a product with its average and that of its category."""
        reply, category_average = await asyncio.gather(
            self._database.read(load_reviews, request.product_id),
            self._database.read(load_category_average, request.product_id),
        )
        if category_average is not None:
            reply.category_average = category_average
        return reply


def load_reviews(connection: sqlite3.Connection, product_id: int) -> GetReviewsReply:
    """Read how many reviews a product has, their average, and the newest."""
    totals = connection.execute(TOTALS, (product_id,)).fetchone()
    recent = connection.execute(RECENT, (product_id,))
    return GetReviewsReply(**totals, recent=[Review(**row) for row in recent])


def load_category_average(connection: sqlite3.Connection, product_id: int) -> float | None:
    """Read the average of all reviews in a product's category: some 4,000 rows."""
    average: float | None = connection.execute(CATEGORY_AVERAGE, (product_id,)).fetchone()[0]
    return average


async def add_service(server: grpc.aio.Server, resources: Resources) -> str:
    """Add reviews to a server and return the service's full name."""
    add_ReviewsServicer_to_server(Reviews(resources.database), server)
    return DESCRIPTOR.services_by_name["Reviews"].full_name

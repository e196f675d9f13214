"""Everything that a product's page shows, in two rounds of calls however many products are related.

GetReviews ───────────────┐
GetProduct ─┬─ GetPrices ─┼─ page
            └─ GetLevels ─┘
"""

import asyncio
from collections.abc import Iterable

from examples.shop.fast.models import ProductPage, PublicPrice, PublicStock, RelatedProduct, Review, Reviews
from examples.shop.fast.page_parts import Offers, PageParts
from examples.shop.proto.catalog_pb2 import Product
from examples.shop.proto.pricing_pb2 import ExchangeRate
from examples.shop.proto.reviews_pb2 import GetReviewsReply


async def product_page(parts: PageParts, product_id: int) -> ProductPage:
    """Return the page of a product.

    Raises:
      ExceptionGroup: of `grpc.aio.AioRpcError`, when a call failed; the calls still under way are then cancelled.
    """
    async with asyncio.TaskGroup() as calls:
        reviews = calls.create_task(parts.reviews(product_id))
        product = await parts.product(product_id)
        offers = await parts.offers((product.id, *(related.id for related in product.related)))
    return assembled(product, offers, public_reviews(reviews.result()))


def assembled(product: Product, offers: Offers, reviews: Reviews) -> ProductPage:
    """Put the page together."""
    rates = offers.priced.rates
    prices = {price.product_id: price for price in offers.priced.prices}
    levels = {level.product_id: level for level in offers.stock.levels}
    price, level = prices[product.id], levels[product.id]
    return ProductPage(
        id=product.id,
        name=product.name,
        description=product.description,
        category=product.category,
        brand=product.brand,
        colour=product.colour,
        price=PublicPrice(
            list_cents=price.list_cents,
            amount_cents=price.amount_cents,
            currency=price.currency,
            converted=converted(price.amount_cents, rates),
        ),
        stock=PublicStock.model_validate(level, from_attributes=True),
        reviews=reviews,
        related=[
            RelatedProduct(
                id=related.id,
                name=related.name,
                amount_cents=prices[related.id].amount_cents,
                currency=prices[related.id].currency,
                converted=converted(prices[related.id].amount_cents, rates),
                available=levels[related.id].available,
            )
            for related in product.related
        ],
    )


def converted(cents: int, rates: Iterable[ExchangeRate]) -> dict[str, int]:
    """Convert an amount into every currency of the rates."""
    return {rate.currency: round(cents * rate.per_euro) for rate in rates}


def public_reviews(reply: GetReviewsReply) -> Reviews:
    """Return the reviews as the page shows them."""
    return Reviews(
        count=reply.count,
        average=reply.average if reply.HasField("average") else None,
        category_average=reply.category_average if reply.HasField("category_average") else None,
        recent=[Review.model_validate(review, from_attributes=True) for review in reply.recent],
    )

"""What the shop tells itself when an order was placed.

    POST /orders ── one transaction: the order, and its event in the outbox
                          │
              relay, in one of the storefronts ──> broker ──┬──> mail     the confirmation
                                                            └──> sales    what was sold, by product and day

The order is answered when it is committed; what follows from it comes after that, and comes for certain. Who has to do
with it later reads the event, and need not ask the storefront.
"""

import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    """An order that was paid and written.

    Attributes:
      day: When, as `2025-06-30`.
      warehouse: Where the pieces were taken from.
    """

    order_id: int
    product_id: int
    quantity: int
    total_cents: int
    day: str
    warehouse: str
    email: str

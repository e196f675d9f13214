"""What the shop tells itself when an order was placed.

    POST /orders ── one transaction: the order, and its event in the outbox
                          │
                    the storefront ──> broker ──┬──> mail     the confirmation
                                                └──> sales    what was sold, by product and day

`outbox` brings events to the broker, of which `brokers` has two; `consumers` take them from there. Without a broker the
storefront does both: see `deliveries`.
"""

from pydantic import BaseModel, ConfigDict


class OrderPlaced(BaseModel):
    """An order that was paid and written.

    Attributes:
      day: When, as `2025-06-30`.
      warehouse: Where the pieces were taken from.
    """

    model_config = ConfigDict(frozen=True)

    order_id: int
    product_id: int
    quantity: int
    total_cents: int
    day: str
    warehouse: str
    email: str

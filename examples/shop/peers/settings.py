"""Where the shop's processes find each other, the database, Redis and the broker, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from examples.shop.data import database_path


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses: gRPC targets of our own services, base URLs of the third parties, database file, Redis and broker.

    Attributes:
      redis: The cache's second tier, as `redis://localhost:6379/0`; without one the cache is in memory alone.
      broker: What events go through, as `amqp://localhost` or `kafka://localhost:9092`; without one the storefront
        handles them itself.
      topic: Of the events; another shop at the same broker has another one.
    """

    catalog: str
    pricing: str
    stock: str
    reviews: str
    payments: str
    mail: str
    database: Path
    redis: str | None = None
    broker: str | None = None
    topic: str = "orders.placed"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read `SHOP_*`; the defaults are for services started by hand on ports 8001 to 8006."""
        return cls(
            catalog=environment.get("SHOP_CATALOG_URL", "dns:///127.0.0.1:8001"),
            pricing=environment.get("SHOP_PRICING_URL", "dns:///127.0.0.1:8002"),
            stock=environment.get("SHOP_STOCK_URL", "dns:///127.0.0.1:8003"),
            reviews=environment.get("SHOP_REVIEWS_URL", "dns:///127.0.0.1:8004"),
            payments=environment.get("SHOP_PAYMENTS_URL", "http://127.0.0.1:8005"),
            mail=environment.get("SHOP_MAIL_URL", "http://127.0.0.1:8006"),
            database=database_path(None, environment),
            redis=environment.get("SHOP_REDIS_URL") or None,
            broker=environment.get("SHOP_BROKER_URL") or None,
            topic=environment.get("SHOP_TOPIC") or "orders.placed",
        )

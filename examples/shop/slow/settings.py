"""Where the services find each other and the database, from the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

from examples.shop.data import DEFAULT_PATH


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses (without a trailing slash) and the database file."""

    catalog: str
    pricing: str
    stock: str
    reviews: str
    payments: str
    mail: str
    database: Path

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read `SHOP_*`; the defaults are for services started by hand on ports 8001 to 8006."""
        return cls(
            catalog=os.environ.get("SHOP_CATALOG_URL", "http://127.0.0.1:8001"),
            pricing=os.environ.get("SHOP_PRICING_URL", "http://127.0.0.1:8002"),
            stock=os.environ.get("SHOP_STOCK_URL", "http://127.0.0.1:8003"),
            reviews=os.environ.get("SHOP_REVIEWS_URL", "http://127.0.0.1:8004"),
            payments=os.environ.get("SHOP_PAYMENTS_URL", "http://127.0.0.1:8005"),
            mail=os.environ.get("SHOP_MAIL_URL", "http://127.0.0.1:8006"),
            database=Path(os.environ.get("SHOP_DATABASE", DEFAULT_PATH)),
        )


settings = Settings.from_environment()

"""What the public sees, and what it may send."""

from datetime import datetime

from pydantic import BaseModel, Field

LARGEST_ID = 2**63 - 1
"""What an `int64` of the services holds."""


class Dimensions(BaseModel):
    """How large and heavy a product is."""

    weight_grams: int
    width_mm: int
    height_mm: int
    depth_mm: int


class ProductSummary(BaseModel):
    """A product in a list."""

    id: int
    name: str
    description: str
    category: str
    brand: str
    colour: str
    dimensions: Dimensions
    created: datetime


class SearchResults(BaseModel):
    """Products that match a search."""

    query: str
    products: list[ProductSummary]


class PublicPrice(BaseModel):
    """A price, with what it is in other currencies."""

    list_cents: int
    amount_cents: int
    currency: str
    converted: dict[str, int]


class PublicStock(BaseModel):
    """Pieces there and where."""

    available: int
    warehouse: str


class Review(BaseModel):
    """What a customer thinks."""

    rating: int
    title: str
    body: str
    author: str
    created: datetime


class Reviews(BaseModel):
    """The newest reviews of a product, with its average and its category's."""

    count: int
    average: float | None
    category_average: float | None
    recent: list[Review]


class RelatedProduct(BaseModel):
    """A related product with price and stock."""

    id: int
    name: str
    amount_cents: int
    currency: str
    converted: dict[str, int]
    available: int


class ProductPage(BaseModel):
    """Everything a product's page shows."""

    id: int
    name: str
    description: str
    category: str
    brand: str
    colour: str
    price: PublicPrice
    stock: PublicStock
    reviews: Reviews
    related: list[RelatedProduct]


class NewOrder(BaseModel):
    """What a customer asks for."""

    product_id: int = Field(ge=1, le=LARGEST_ID)
    quantity: int = Field(ge=1, le=1_000)
    email: str = "customer@shop.example"


class Order(BaseModel):
    """An order that was taken."""

    order_id: int
    product_id: int
    quantity: int
    total_cents: int
    currency: str
    payment_reference: str


class DayTotals(BaseModel):
    """One day of the daily report."""

    day: str
    orders: int
    pieces: int
    revenue_cents: int
    largest_order_cents: int


class DailyReport(BaseModel):
    """Totals of the last days that had orders, oldest first."""

    days: list[DayTotals]
    orders: int
    revenue_cents: int


class Problem(BaseModel):
    """Why there is no other answer."""

    detail: str

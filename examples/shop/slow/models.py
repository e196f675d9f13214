"""What the services say to each other and to the public."""

from datetime import datetime

from pydantic import BaseModel, Field


class Dimensions(BaseModel):
    """How large and heavy a product is."""

    weight_grams: int
    width_mm: int
    height_mm: int
    depth_mm: int


class ProductRecord(BaseModel):
    """A product as the catalog keeps it, the supplier's side included."""

    id: int
    name: str
    description: str
    category: str
    brand: str
    colour: str
    dimensions: Dimensions
    supplier_code: str
    supplier_cents: int
    created: datetime


class FoundRecords(BaseModel):
    """Products that match a search, as the catalog keeps them."""

    query: str
    products: list[ProductRecord]


class ProductSummary(BaseModel):
    """A product as the public sees it in a list."""

    id: int
    name: str
    description: str
    category: str
    brand: str
    colour: str
    dimensions: Dimensions
    created: datetime


class SearchResults(BaseModel):
    """Products that match a search, as the public sees them."""

    query: str
    products: list[ProductSummary]


class RelatedName(BaseModel):
    """A related product, by name."""

    id: int
    name: str


class Product(BaseModel):
    """A product with the names of those that go with it."""

    id: int
    name: str
    description: str
    category: str
    brand: str
    colour: str
    related: list[RelatedName]


class Price(BaseModel):
    """A price after sales and campaigns."""

    product_id: int
    list_cents: int
    amount_cents: int
    currency: str


class Rates(BaseModel):
    """What one unit of the base currency is worth in others."""

    base: str
    rates: dict[str, float]


class Level(BaseModel):
    """How many pieces of a product are there."""

    product_id: int
    available: int
    warehouse: str


class Levels(BaseModel):
    """Levels of several products, by product."""

    levels: dict[int, int]


class LevelChange(BaseModel):
    """Pieces that come (positive) or go (negative)."""

    change: int = Field(ge=-1_000, le=1_000)


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

    product_id: int = Field(ge=1)
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

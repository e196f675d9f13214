"""Results of searches and the daily report, as JSON."""

import time

from cashews import Cache
from pydantic_core import to_json

from examples.shop.fast.database import Database
from examples.shop.fast.models import ProductSummary, SearchResults
from examples.shop.fast.reports import load_daily_report
from examples.shop.peers.backends import Backends
from examples.shop.peers.freshness import FRESH, REPORT, STALE, Kept, remaining


class Listings:
    """Makes them, and keeps them."""

    def __init__(self, backends: Backends, database: Database, cache: Cache) -> None:
        self._backends = backends
        self._database = database
        self._found = cache.early(ttl=STALE, early_ttl=FRESH, key="search:{words}")(self._search)
        self._report = cache(ttl=remaining, key=REPORT)(self._add_up)

    async def search(self, words: str) -> bytes:
        """Return the products that match; `grpc.aio.AioRpcError` when the call failed."""
        body: bytes = await self._found(words=words)
        return body

    async def daily_report(self) -> bytes:
        """Return the totals of the last 35 days that had orders."""
        kept: Kept = await self._report()
        return kept.body

    async def _search(self, words: str) -> bytes:
        found = await self._backends.search(words)
        products = [ProductSummary.model_validate(product, from_attributes=True) for product in found]
        return to_json(SearchResults(query=words, products=products))

    async def _add_up(self) -> Kept:
        read_at = time.monotonic()
        return Kept(to_json(await self._database.read(load_daily_report)), read_at)

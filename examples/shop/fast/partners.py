"""The third parties: payments and mail, over HTTP with one client for the life of the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from examples.shop.fast.settings import Settings

TIMEOUT = 5.0
KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept: less than the 5 after which the partners close it, as the shop must not
send an order's payment into a connection that is about to close."""


class Partners:
    """Payments and mail.

    Both methods raise `aiohttp.ClientError` when the partner cannot be reached or answers with an error, and
    `TimeoutError` when it does not answer within `TIMEOUT`.
    """

    def __init__(self, http: aiohttp.ClientSession, settings: Settings) -> None:
        self._http = http
        self._charges = f"{settings.payments}/charges"
        self._messages = f"{settings.mail}/messages"

    async def charge(self, amount_cents: int, currency: str, purpose: str) -> str | None:
        """Take the money; return the payment's reference, None when it was declined."""
        wanted = {"amount_cents": amount_cents, "currency": currency, "purpose": purpose}
        async with self._http.post(self._charges, json=wanted) as response:
            answer = await response.json()
        reference: str = answer["reference"]
        return reference if answer["status"] == "paid" else None

    async def send_mail(self, recipient: str, subject: str) -> None:
        """Hand a mail over."""
        async with self._http.post(self._messages, json={"recipient": recipient, "subject": subject}):
            pass


@asynccontextmanager
async def open_partners(settings: Settings) -> AsyncIterator[Partners]:
    """Keep one client, whose connections are used again."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        raise_for_status=True,
    ) as http:
        yield Partners(http, settings)

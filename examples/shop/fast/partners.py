"""The third parties: payments and mail, over HTTP with a client each for the life of the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from msgspec import Struct

from examples.shop.fast.settings import Settings
from hasten.http.client import Client

TIMEOUT = 5.0


class Charged(Struct):
    """What payments answers."""

    status: Literal["paid", "declined"]
    reference: str


class Partners:
    """Payments and mail; both methods raise `HastenError` when the partner does not do it, or not within `TIMEOUT`."""

    def __init__(self, settings: Settings) -> None:
        self.payments = Client(settings.payments, timeout=TIMEOUT)
        self.mail = Client(settings.mail, timeout=TIMEOUT)

    async def charge(self, amount_cents: int, currency: str, purpose: str) -> str | None:
        """Take the money; return the payment's reference, None when it was declined."""
        wanted = {"amount_cents": amount_cents, "currency": currency, "purpose": purpose}
        charged = await self.payments.post("/charges", json=wanted, decode=Charged)
        return charged.reference if charged.status == "paid" else None

    async def send_mail(self, recipient: str, subject: str) -> None:
        """Hand a mail over."""
        answer = await self.mail.post("/messages", json={"recipient": recipient, "subject": subject})
        answer.raise_for_status()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep connections while the block runs."""
        async with self.payments, self.mail:
            yield

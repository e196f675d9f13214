"""The third parties: payments and mail, over HTTP with aiohttp: one session for the life of the process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientResponseError, ClientSession, ClientTimeout, TCPConnector

from examples.shop.peers.settings import Settings

TIMEOUT = ClientTimeout(total=5.0)
KEEPALIVE = 4.0
"""Seconds that an idle connection is kept: less than uvicorn's 5, so that none is used that is just being closed."""

UNREACHABLE = (ClientError, TimeoutError)
"""What the methods of `Partners` raise when a partner does not do it, or not in time."""

REFUSALS = {400, 422}
"""The mail partner's answers by which the mail itself is wrong."""


class MailRefused(Exception):
    """Raised when the partner will never send a mail; trying again does not help."""


class Partners:
    """Payments and mail."""

    def __init__(self, session: ClientSession, settings: Settings) -> None:
        self._session = session
        self._charges = f"{settings.payments}/charges"
        self._messages = f"{settings.mail}/messages"

    async def charge(self, amount_cents: int, currency: str, purpose: str) -> str | None:
        """Take the money; return the payment's reference, None when it was declined."""
        wanted = {"amount_cents": amount_cents, "currency": currency, "purpose": purpose}
        async with self._session.post(self._charges, json=wanted) as answer:
            charged = await answer.json()
        return str(charged["reference"]) if charged["status"] == "paid" else None

    async def send_mail(self, recipient: str, subject: str) -> None:
        """Hand a mail over; MailRefused if that will never do."""
        try:
            async with self._session.post(self._messages, json={"recipient": recipient, "subject": subject}) as answer:
                await answer.read()
        except ClientResponseError as error:
            if error.status in REFUSALS:
                raise MailRefused(f"the mail partner answers {error.status}") from error
            raise


@asynccontextmanager
async def open_partners(settings: Settings) -> AsyncIterator[Partners]:
    """Keep connections while the block runs."""
    connector = TCPConnector(limit=100, keepalive_timeout=KEEPALIVE)
    async with ClientSession(connector=connector, timeout=TIMEOUT, raise_for_status=True) as session:
        yield Partners(session, settings)

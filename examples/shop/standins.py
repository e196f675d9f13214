"""Stand-ins for the third parties that the shop pays and writes mail through. They are not under diagnosis.

Each answers after the time that the real one takes, and costs next to no CPU meanwhile.
"""

import asyncio
import itertools

from fastapi import FastAPI
from pydantic import BaseModel, PositiveInt

PAYMENT_SECONDS = 0.030
MAIL_SECONDS = 0.080

LARGEST_CHARGE_CENTS = 10_000_000
"""The payment provider declines more than this."""


class Charge(BaseModel):
    """Money to take."""

    amount_cents: PositiveInt
    currency: str
    purpose: str


class Message(BaseModel):
    """A mail to send."""

    recipient: str
    subject: str


def _payments() -> FastAPI:
    app = FastAPI(title="payments stand-in")
    numbers = itertools.count(1)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/charges")
    async def charge(wanted: Charge) -> dict[str, str]:
        await asyncio.sleep(PAYMENT_SECONDS)
        if wanted.amount_cents > LARGEST_CHARGE_CENTS:
            return {"status": "declined", "reference": ""}
        return {"status": "paid", "reference": f"pay-{next(numbers):08d}"}

    return app


def _mail() -> FastAPI:
    app = FastAPI(title="mail stand-in")
    sent = itertools.count(1)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/messages", status_code=202)
    async def send(message: Message) -> dict[str, str]:
        await asyncio.sleep(MAIL_SECONDS)
        return {"id": f"mail-{next(sent):08d}", "recipient": message.recipient}

    return app


payments = _payments()
mail = _mail()

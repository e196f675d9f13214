"""What every broker carries: payloads of each kind, in both forms, and effects that happen once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest

from hasten.events import Message
from hasten.events._payload import Format
from hasten.events.once.memory import MemoryOnce
from tests.events.brokers.adapter import Adapter, OrderPaid, Seen, new_topic, run

MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)


class Struct(msgspec.Struct, frozen=True):
    name: str
    at: datetime
    price: Decimal


@dataclass(frozen=True)
class Data:
    name: str
    at: datetime
    price: Decimal


class Model(pydantic.BaseModel):
    name: str
    at: datetime
    price: Decimal


KINDS: dict[str, Any] = {
    "struct": Struct("mück \U0001f9a9", MOMENT, Decimal("12.50")),
    "dataclass": Data("mück \U0001f9a9", MOMENT, Decimal("12.50")),
    "pydantic": Model(name="mück \U0001f9a9", at=MOMENT, price=Decimal("12.50")),
    "dict": {"name": "mück", "list": [1, 2.5, None, True, {"a": ""}]},
    "text": "",
    "number": -(2**53),
    "bytes": bytes(range(256)),
    "nothing": b"",
    "large": b"x" * 900_000,
}


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("kind", KINDS)
def test_payload_kinds(adapter: Adapter, kind: str, form: Format) -> None:
    """What arrives is what was published, of the type that the subscriber's annotation says."""
    payload = KINDS[kind]

    async def scenario() -> None:
        topic, bus, seen = new_topic(), adapter.bus(form=form), Seen()
        bus.subscribe(topic, group="billing")(handler_of(type(payload), seen))
        async with adapter.joined(bus):
            await bus.publish(topic, payload)
            await seen.count(1)
        assert seen.payloads == [payload]
        assert type(seen.payloads[0]) is type(payload)

    run(scenario())


def handler_of(kind: type, seen: Seen) -> Callable[..., Any]:
    """Return a handler of payloads of one kind."""

    async def note(payload: Any, message: Message) -> None:
        await seen.note(payload, message)

    note.__annotations__ = {"payload": kind, "message": Message, "return": None}
    return note


def test_once(adapter: Adapter) -> None:
    """A message that is published again, by its id, has no second effect; one that failed has its first one later."""

    async def scenario() -> None:
        topic, bus, effects, came = new_topic(), adapter.bus(), list[int](), asyncio.Semaphore(0)

        @bus.subscribe(topic, group="billing", once=MemoryOnce())
        async def bill(order: OrderPaid, message: Message) -> None:
            if order.number == 2 and message.attempt == 1:
                raise ValueError("not at first")
            effects.append(order.number)
            came.release()

        async with adapter.joined(bus):
            for _ in range(3):
                await bus.publish(topic, OrderPaid(1), message_id="order-1")
            await bus.publish(topic, OrderPaid(2), message_id="order-2")
            await bus.publish(topic, OrderPaid(3), message_id="order-3")
            for _ in range(3):
                await came.acquire()
        assert sorted(effects) == [1, 2, 3]

    run(scenario())

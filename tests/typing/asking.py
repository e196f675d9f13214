"""How a type checker sees request and reply; checked by mypy, never run."""

from typing import assert_type

import msgspec

from hasten.events import Bus, Requests, answers


class Price(msgspec.Struct):
    cents: int


bus = Bus("memory://")


@answers(bus, "prices.quote", group="prices")
async def quote(name: str) -> Price:
    return Price(len(name))


async def use() -> None:
    assert_type(await quote("tea"), Price)
    async with Requests(bus) as requests:
        assert_type(await requests.ask("prices.quote", "tea", returns=Price), Price)
        assert_type(await requests.ask("prices.quote", "tea", returns=list[int]), list[int])
        await requests.ask("prices.quote", "tea", returns="Price")  # type: ignore[arg-type]

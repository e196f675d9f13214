"""How a type checker sees the HTTP client's API; checked by mypy, never run."""

import ssl
from typing import TYPE_CHECKING, assert_type

import msgspec
import pydantic

from hasten._core.signals import HttpCallFinished
from hasten.http.client import (
    Client,
    ConnectFailed,
    ConnectionLost,
    Fields,
    HostStatistics,
    HttpError,
    HttpStatusError,
    Limits,
    PrivateCache,
    PrivateCacheStatistics,
    Response,
    StreamedResponse,
    host_breaker,
)
from hasten.resilience import AdaptiveBreaker, Breaker, RetryBudget, RetryPolicy

if TYPE_CHECKING:
    from hasten import HastenError


class Price(msgspec.Struct):
    cents: int


class Model(pydantic.BaseModel):
    cents: int


client = Client("http://pricing:8000")
Client(["http://a:8000", "http://b:8000"], timeout=0.5, retry=RetryPolicy(attempts=2), budget=RetryBudget(), hedge=2.0)
Client("http://a", retry=None, breaker=None, fields={"X": "a"}, limits=Limits(connections=10))
Client("https://a", breaker=AdaptiveBreaker, ssl=ssl.create_default_context(), fields=[("X", "a"), ("X", "b")])
Client("http://a", breaker=lambda: Breaker(failures=3))
Client("http://a", breaker=host_breaker)
Client("http://a", 5.0)  # type: ignore[call-arg]
Client(8000)  # type: ignore[arg-type]
Client("http://a", timeout="5")  # type: ignore[arg-type]
Limits(10)  # type: ignore[call-arg]


async def calls() -> None:
    async with Client("http://pricing:8000") as pricing:
        assert_type(pricing, Client)
        assert_type(await pricing.get("/prices/7"), Response)
        assert_type(await pricing.get("/prices/7", decode=Price), Price)
        assert_type(await pricing.get("/prices/7", decode=Model, timeout=0.2), Model)
        assert_type(await pricing.get("/prices", decode=list[Price], params={"day": 1, "of": ["a", "b"]}), list[Price])
        assert_type(await pricing.get("/prices", coalesce=True, fields={"Accept": "text/plain"}), Response)
        assert_type(await pricing.post("/orders", json=Price(7)), Response)
        assert_type(await pricing.post("/orders", content=b"x", decode=Price), Price)
        assert_type(await pricing.put("/orders/1", json={"a": 1}), Response)
        assert_type(await pricing.patch("/orders/1", json={"a": 1}, decode=dict[str, int]), dict[str, int])
        assert_type(await pricing.delete("/orders/1"), Response)
        assert_type(await pricing.head("/orders/1"), Response)
        assert_type(await pricing.request("OPTIONS", "/", decode=None), Response)
        assert_type(await pricing.request("GET", "/", decode=Price), Price)
        await pricing.get("/", data=b"x")  # type: ignore[call-overload]
        await pricing.get("/", timeout="1")  # type: ignore[call-overload]
        await pricing.head("/", decode=Price)  # type: ignore[call-arg]
        async with pricing.stream("GET", "/prices", timeout=1) as answer:
            assert_type(answer, StreamedResponse)
            assert_type(answer.fields, Fields)
            async for part in answer:
                assert_type(part, bytes)
            assert_type(await answer.read(), Response)
        pricing.add_hook(told)
        assert_type(pricing.statistics().hosts, tuple[HostStatistics, ...])


def told(call: HttpCallFinished) -> None:
    assert_type(call.status, int)


def answers(response: Response) -> None:
    assert_type(response.status, int)
    assert_type(response.content, bytes)
    assert_type(response.text(), str)
    assert_type(response.fields["a"], str)
    assert_type(response.fields.all("a"), list[str])
    assert_type(response.fields.raw, tuple[tuple[bytes, bytes], ...])
    assert_type(response.decode(Price), Price)
    assert_type(response.raise_for_status(), Response)
    assert_type(response.from_cache, bool)


def keeps(cache: PrivateCache) -> None:
    client = Client("http://pricing:8000", cache=cache)
    assert_type(cache.statistics(), PrivateCacheStatistics)
    assert_type(cache.hits, int)
    print(client)


def errors(error: HttpError, status: HttpStatusError, lost: ConnectionLost) -> None:
    as_ours: HastenError = error
    no_connection: type[HttpError] = ConnectFailed
    assert_type(status.status, int)
    assert_type(status.response, Response)
    assert_type(lost.may_be_processed, bool)
    print(as_ours, no_connection)

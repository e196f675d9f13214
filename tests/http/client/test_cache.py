"""What a client does with its cache, beside what the RFC's table says: hits, bounds, callers at the same time."""

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hasten._core.errors import ConfigurationError
from hasten.http.client import (
    Client,
    ConnectFailed,
    HttpStatusError,
    PrivateCache,
    Response,
)
from hasten.resilience import Breaker, Refused
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.case import date
from tests.http.client.services import MINUTE, Service, Time, calling, calling_service, numbered, response
from tests.http.client.test_coalescing import Gate
from tests.load.servers import serving

if TYPE_CHECKING:
    from hasten._core.signals import HttpCallFinished

NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n\r\n"


class Price(msgspec.Struct):
    cents: int


def test_a_hit_is_no_call(loop_factory: LoopFactory) -> None:
    """What is kept is answered with the service gone and its breaker open; no hook is told, nothing is counted."""

    async def scenario() -> None:
        service, cache, told = numbered(MINUTE), PrivateCache(), list["HttpCallFinished"]()
        async with serving(service.handle) as url:
            client = Client(url, cache=cache, retry=None, breaker=lambda: Breaker(failures=1))
            client.add_hook(told.append)
            first = await client.get("/1")
        await client.aclose()
        async with client:
            with pytest.raises(ConnectFailed):
                await client.get("/2")
            with pytest.raises(Refused):
                await client.get("/2")
            again = await client.get("/1")
            assert (again.status, again.content, again.host) == (first.status, first.content, first.host)
            assert (first.from_cache, again.from_cache) == (False, True)
            assert again.fields["age"] == "0"
            assert "age" not in first.fields
            assert [one.status for one in told] == [200, 0, 0]
            assert client.statistics().hosts[0].first == 1
        assert cache.statistics().hits == 1
        assert cache.statistics().misses == 3

    run(loop_factory, scenario())


def test_decoded_and_pickled(loop_factory: LoopFactory) -> None:
    """What is kept is decoded as any answer is, and a pickled answer still says where it is from."""

    async def scenario() -> None:
        service = Service(response(b'{"cents": 7}', MINUTE))
        async with calling_service(service, cache=PrivateCache()) as client:
            assert [await client.get("/", decode=Price) for _ in range(2)] == [Price(7)] * 2
            kept: Response = pickle.loads(pickle.dumps(await client.get("/")))
            assert kept.from_cache
            assert len(service.requests) == 1

    run(loop_factory, scenario())


def test_head(loop_factory: LoopFactory) -> None:
    """HEAD is answered by what GET has brought, without its body."""

    async def scenario() -> None:
        service = Service(response(b"body", MINUTE))
        async with calling_service(service, cache=PrivateCache()) as client:
            await client.get("/")
            head = await client.head("/")
            assert (head.content, head.fields["content-length"], head.method) == (b"", "4", "HEAD")
            assert head.from_cache
            assert len(service.requests) == 1

    run(loop_factory, scenario())


@pytest.mark.parametrize(
    ("fields", "kept"), [((), True), (('etag: "v2"',), False), (("last-modified: x",), False), ((), False)]
)
def test_what_head_says_of_what_is_kept(fields: tuple[str, ...], *, kept: bool, loop_factory: LoopFactory) -> None:
    """An answer to HEAD makes what is kept fresh, if it is about the same, and else drops it (section 4.3.5)."""

    async def scenario() -> None:
        body = b"body" if kept or fields else b"longer"

        def answer(request: bytes, number: int) -> bytes:
            whole = response(body if number > 1 else b"body", MINUTE, *(fields if number > 1 else ()))
            return whole if request.startswith(b"GET") else whole.removesuffix(body)

        service, time = Service(answer), Time()
        async with calling_service(service, cache=PrivateCache(clock=time)) as client:
            await client.get("/")
            time.now += 61 if kept else 1
            await client.head("/", fields={"cache-control": "no-cache"})
            again = await client.get("/")
            assert again.from_cache == kept
            assert len(service.requests) == (2 if kept else 3)

    run(loop_factory, scenario())


def test_expires_is_a_moment(loop_factory: LoopFactory) -> None:
    """What holds still, by a 304 without a Date, is fresh until Expires, and not for as long again."""

    async def scenario() -> None:
        fields = (f"expires: {date(60)}", f"date: {date(0)}", 'etag: "1"')
        service = Service(lambda request, number: response(b"x", *fields) if number == 1 else NOT_MODIFIED)
        time = Time()
        async with calling_service(service, cache=PrivateCache(clock=time)) as client:
            await client.get("/")
            for passed, requests in ((30, 1), (31, 2), (30, 3)):
                time.now += passed
                assert (await client.get("/")).from_cache
                assert len(service.requests) == requests

    run(loop_factory, scenario())


def test_only_if_cached(loop_factory: LoopFactory) -> None:
    """What is not kept is a 504 of the cache's own then: nothing is connected."""

    async def scenario() -> None:
        service = Service()
        async with calling_service(service, cache=PrivateCache()) as client:
            answer = await client.get("/", fields={"cache-control": "only-if-cached"})
            assert (answer.status, answer.content, answer.from_cache) == (504, b"", True)
            with pytest.raises(HttpStatusError):
                await client.get("/", decode=Price, fields={"cache-control": "only-if-cached"})
            assert service.connections == 0

    run(loop_factory, scenario())


# ---- one cache, several clients; bounds


def test_several_clients(loop_factory: LoopFactory) -> None:
    """A cache goes by the whole URL, and by the fields that each client has of its own."""

    async def scenario() -> None:
        service, cache = numbered(MINUTE, "vary: x-tenant"), PrivateCache()
        async with (
            serving(service.handle) as url,
            Client(url, cache=cache) as one,
            Client(f"{url}/api", cache=cache) as below,
            Client(url, cache=cache, fields={"X-Tenant": "a"}) as tenant,
            Client(url, cache=cache, fields={"Authorization": "Bearer a"}) as known,
        ):
            assert (await one.get("/api/x")).content == b"1"
            assert (await below.get("/x")).content == b"1"
            assert (await below.get("/api/x")).content == b"2"
            assert (await tenant.get("/api/x")).content == b"3"
            assert (await tenant.get("/api/x", fields={"x-tenant": "b"})).content == b"4"
            assert (await tenant.get("/api/x")).content == b"3"
            assert (await one.get("/api/x", fields={"x-tenant": "b"})).content == b"4"
            assert (await known.get("/api/x")).content == b"5"
            assert (await known.get("/api/x")).content == b"6"
            await below.post("/x")
            assert (await one.get("/api/x")).content == b"8"

    run(loop_factory, scenario())


def test_bytes_are_bounded(loop_factory: LoopFactory) -> None:
    """What was used the longest ago goes first; what is larger than all there is room for is not kept."""

    async def scenario() -> None:
        cache = PrivateCache(max_bytes=100_000)
        service = Service(
            lambda request, number: response(b"x" * (40_000 if b"/big" not in request else 99_900), MINUTE)
        )
        async with calling_service(service, cache=cache) as client:
            for target in ("/1", "/2", "/1", "/3", "/big"):
                await client.get(target)
            assert cache.statistics().responses == 2
            assert 80_000 < cache.statistics().size_bytes <= 100_000
            assert cache.statistics().evicted == 1
            service.requests.clear()
            for target in ("/1", "/3", "/2", "/big"):
                await client.get(target)
            assert service.targets() == ["/2", "/big"]
            cache.clear()
            assert (cache.statistics().responses, cache.statistics().size_bytes) == (0, 0)

    run(loop_factory, scenario())


def test_entries_and_variants_are_bounded(loop_factory: LoopFactory) -> None:
    """There are `max_entries` URLs, and eight responses of each, the latest."""

    async def scenario() -> None:
        cache = PrivateCache(max_entries=2)
        async with calling_service(numbered(MINUTE, "vary: x-a"), cache=cache) as client:
            for number in range(20):
                await client.get("/1", fields={"x-a": str(number)})
            assert cache.statistics().responses == 8
            assert (await client.get("/1", fields={"x-a": "12"})).from_cache
            assert not (await client.get("/1", fields={"x-a": "11"})).from_cache
            await client.get("/2")
            await client.get("/3")
            assert cache.statistics().responses == 2
            assert cache.statistics().evicted == 8

    run(loop_factory, scenario())


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_entries": 0}, {"max_bytes": float("inf")}])
def test_wrong_bounds(bounds: dict[str, Any]) -> None:
    """A cache without bounds, or without room, is a mistake."""
    with pytest.raises(ConfigurationError, match="at least 1"):
        PrivateCache(**bounds)


def test_what_is_not_cached(loop_factory: LoopFactory) -> None:
    """Streams, requests with a body and POSTs are calls, whatever is kept, and keep nothing."""

    async def scenario() -> None:
        service, cache = Service(response(b"x", MINUTE)), PrivateCache()
        async with calling_service(service, cache=cache) as client:
            for _ in range(2):
                async with client.stream("GET", "/") as answer:
                    await answer.read()
                await client.get("/", content=b"x")
                await client.post("/")
            assert len(service.requests) == 6
            assert cache.statistics().responses == 0
            assert cache.statistics().misses == 0

    run(loop_factory, scenario())


# ---- at the same time


def test_coalesced(loop_factory: LoopFactory) -> None:
    """Equal calls that miss, and share their answer, are one request; a cancelled one leaves it to the others."""

    async def scenario() -> None:
        gate, cache = Gate(response(b"ok", MINUTE)), PrivateCache()
        async with calling(gate.handle, cache=cache) as client:
            calls = [asyncio.create_task(client.get("/", coalesce=True)) for _ in range(100)]
            await gate.came.wait()
            calls[0].cancel()
            gate.opened.set()
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(answers[0], asyncio.CancelledError)
            assert [one.content for one in answers if isinstance(one, Response)] == [b"ok"] * 99
            assert (await client.get("/", coalesce=True)).from_cache
            assert len(gate.requests) == 1

    run(loop_factory, scenario())


def test_cancelled(loop_factory: LoopFactory) -> None:
    """Nothing is left of a caller that goes: no fetch, and nothing half kept; what was stale is still there."""

    async def scenario() -> None:
        gate, time = Gate(response(b"ok", "cache-control: max-age=60, stale-if-error=999", 'etag: "1"')), Time()
        cache = PrivateCache(clock=time)
        gate.opened.set()
        async with calling(gate.handle, cache=cache) as client:
            await client.get("/")
            time.now += 61
            gate.opened.clear()
            gate.came.clear()
            call = asyncio.create_task(client.get("/"))
            await gate.came.wait()
            assert b'if-none-match: "1"' in gate.requests[-1]
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not cache._fetches
            assert cache.statistics().responses == 1
            await client.aclose()

    run(loop_factory, scenario())

"""Stale answers: while they are renewed, and in the place of failures."""

from collections.abc import Awaitable, Callable

import pytest

from hasten.http.client import (
    Client,
    ConnectionLost,
    PrivateCache,
)
from hasten.resilience import Breaker, DeadlineExceeded
from tests.cache.running import passes, run
from tests.conftest import LoopFactory
from tests.http.client.services import MINUTE, Service, Time, calling, calling_service, numbered, response, until
from tests.http.client.test_coalescing import Gate


async def renewed(service: Service, cache: PrivateCache, requests: int) -> None:
    """Wait until so many requests have been made, and answered."""
    await until(lambda: len(service.requests) == requests and not cache._fetches)


def test_stale_while_revalidate(loop_factory: LoopFactory) -> None:
    """Stale answers come at once, and one call renews them; what it brings is fresh."""

    async def scenario() -> None:
        service = numbered("cache-control: max-age=60, stale-while-revalidate=60")
        time = Time()
        cache = PrivateCache(clock=time)
        async with calling_service(service, cache=cache) as client:
            await client.get("/")
            time.now += 90
            stale = [await client.get("/") for _ in range(50)]
            assert {(one.content, one.fields["age"], one.from_cache) for one in stale} == {(b"1", "90", True)}
            await renewed(service, cache, 2)
            fresh = await client.get("/")
            assert (fresh.content, fresh.fields["age"]) == (b"2", "0")
            assert len(service.requests) == 2
            assert cache.statistics().stale == 50

    run(loop_factory, scenario())


def test_a_stale_head_is_renewed_by_get(loop_factory: LoopFactory) -> None:
    """HEAD that finds something stale has that renewed, which takes a GET."""

    async def scenario() -> None:
        service, time = numbered("cache-control: max-age=60, stale-while-revalidate=60"), Time()
        async with calling_service(service, cache=PrivateCache(clock=time)) as client:
            await client.get("/")
            time.now += 90
            await client.head("/")
            await until(lambda: len(service.requests) == 2)
            assert service.requests[1].startswith(b"GET ")

    run(loop_factory, scenario())


def test_a_renewal_that_fails(loop_factory: LoopFactory) -> None:
    """It is tried again after a second, by who finds it stale then; what there is stays."""

    async def scenario() -> None:
        def answer(request: bytes, number: int) -> bytes:
            status = 200 if number in {1, 4} else 503
            return response(b"%d" % number, "cache-control: max-age=60, stale-while-revalidate=60", status=status)

        service, time = Service(answer), Time()
        cache = PrivateCache(clock=time)
        async with calling_service(service, cache=cache, retry=None) as client:
            await client.get("/")
            time.now += 90
            for expected in (2, 3, 4):
                assert [(await client.get("/")).content for _ in range(3)] == [b"1"] * 3
                await renewed(service, cache, expected)
                await passes()
                assert (await client.get("/")).content == (b"4" if expected == 4 else b"1")
                assert len(service.requests) == expected
                time.now += 1.5

    run(loop_factory, scenario())


def test_renewals_are_bounded(loop_factory: LoopFactory) -> None:
    """32 are under way at a time at most, whatever is stale; closing the client ends them."""

    async def scenario() -> None:
        gate, time = Gate(response(b"x", "cache-control: max-age=60, stale-while-revalidate=60")), Time()
        gate.opened.set()
        async with calling(gate.handle, cache=PrivateCache(clock=time)) as client:
            for number in range(50):
                await client.get(f"/{number}")
            time.now += 90
            gate.opened.clear()
            for number in range(50):
                assert (await client.get(f"/{number}")).from_cache
            await until(lambda: len(gate.requests) == 50 + 32)
            await client.aclose()
            assert client._cached is not None
            statistics = client._cached._renewals.statistics()
            assert (statistics.running, statistics.refused, statistics.failed) == (0, 18, 0)

    run(loop_factory, scenario())


# ---- when calls fail


async def _lost(client: Client, service: Service) -> None:
    service.answer = lambda request, number: b""


async def _refused(client: Client, service: Service) -> None:
    service.answer = lambda request, number: b""
    with pytest.raises(ConnectionLost):
        await client.get("/other")


async def _gibberish(client: Client, service: Service) -> None:
    service.answer = lambda request, number: b"gibberish\r\n\r\n"


@pytest.mark.parametrize("fail", [_lost, _refused, _gibberish])
def test_stale_if_error(fail: Callable[[Client, Service], Awaitable[None]], loop_factory: LoopFactory) -> None:
    """Whatever keeps the service from answering, what is kept is served within its window, and the error after it."""

    async def scenario() -> None:
        service, time = numbered("cache-control: max-age=60, stale-if-error=60"), Time()
        options = {"retry": None, "breaker": lambda: Breaker(failures=1, first=1000, longest=1000)}
        async with calling_service(service, cache=PrivateCache(clock=time), **options) as client:
            await client.get("/")
            await fail(client, service)
            time.now += 119
            stale = await client.get("/")
            assert (stale.content, stale.fields["age"], stale.from_cache) == (b"1", "119", True)
            time.now += 1
            with pytest.raises(Exception, match=client.statistics().hosts[0].name):
                await client.get("/")

    run(loop_factory, scenario())


def test_stale_if_error_at_the_deadline(loop_factory: LoopFactory) -> None:
    """A service that does not answer in time has failed, too."""

    async def scenario() -> None:
        gate, time = Gate(response(b"x", "cache-control: max-age=60, stale-if-error=60")), Time()
        gate.opened.set()
        async with calling(gate.handle, cache=PrivateCache(clock=time)) as client:
            await client.get("/")
            gate.opened.clear()
            time.now += 90
            assert (await client.get("/", timeout=0.02)).content == b"x"
            with pytest.raises(DeadlineExceeded):
                await client.get("/other", timeout=0.02)

    run(loop_factory, scenario())


def test_a_refusal_says_nothing_of_what_is_kept(loop_factory: LoopFactory) -> None:
    """429 and 503 are answers, and what is kept is asked for by its tag the next time."""

    async def scenario() -> None:
        service, time = numbered(MINUTE, 'etag: "1"'), Time()
        async with calling_service(service, cache=PrivateCache(clock=time), retry=None) as client:
            await client.get("/")
            time.now += 61
            for status in (429, 503):
                service.answer = lambda request, number, status=status: response(status=status)  # type: ignore[misc]
                assert (await client.get("/")).status == status
                assert service.fields()["if-none-match"] == '"1"'
            service.answer = lambda request, number: response(status=410)
            assert (await client.get("/")).status == 410
            await client.get("/")
            assert "if-none-match" not in service.fields()

    run(loop_factory, scenario())


def test_fresh_is_not_for_errors(loop_factory: LoopFactory) -> None:
    """Who does not want what is kept does not get it in the place of a failure that the service has not allowed."""

    async def scenario() -> None:
        service = numbered(MINUTE)
        async with calling_service(service, cache=PrivateCache(), retry=None) as client:
            await client.get("/")
            service.answer = lambda request, number: b""
            with pytest.raises(ConnectionLost):
                await client.get("/", fields={"cache-control": "no-cache"})
            assert (await client.get("/")).from_cache

    run(loop_factory, scenario())

"""The cases of RFC 9111 and RFC 5861 for a private cache, through a client of a service."""

import pytest

from hasten.http.client import PrivateCache
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.client.cache_cases import CASES, FRESH, HOLDS, NEW, STALE, Case
from tests.http.client.services import Service, Time, calling_service, response


def serve(case: Case) -> Service:
    """Return a service that answers as a case says, and 304 where its own validator is asked for."""

    def answer(request: bytes, number: int) -> bytes:
        later = case.then is not None and number > 1
        fields, status = (case.then, case.then_status or 200) if later else (case.reply, case.status)
        assert fields is not None
        own = dict(fields)
        asked = {
            (b"if-none-match: " + own["etag"].encode()) if "etag" in own else b"",
            (b"if-modified-since: " + own["last-modified"].encode()) if "last-modified" in own else b"",
        } - {b""}
        body = b"" if request.startswith(b"HEAD") else (b"body" if number == 1 else b"new")
        if any(line in asked for line in request.split(b"\r\n")):
            lines = [f"{name}: {value}" for name, value in case.not_modified]
            return "\r\n".join(["HTTP/1.1 304 Word", *lines, "", ""]).encode()
        return response(body, *(f"{name}: {value}" for name, value in fields), status=status)

    return Service(answer)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, loop_factory: LoopFactory) -> None:
    """The second request gets what the RFC's section says, and the service is asked only if it must be."""

    async def scenario() -> None:
        service, time = serve(case), Time()
        cache = PrivateCache(clock=time)
        async with calling_service(service, cache=cache, retry=None) as client:
            first = await client.request(case.method, "/page", fields=case.first)
            assert first.status == case.status
            assert not first.from_cache
            time.now += case.passed
            second = await client.request(case.method, case.second_target, fields=case.second)
            statistics = cache.statistics()
            assert second.from_cache == (case.expected != NEW)
            assert (statistics.hits, statistics.stale) == (int(case.expected == FRESH), int(case.expected == STALE))
            assert statistics.revalidated == int(case.expected == HOLDS)
            if case.expected == NEW:
                assert len(service.requests) >= 2
                assert second.status == (case.then_status or case.status)
            else:
                assert second.content == b"body"
                assert second.status == case.status
            if case.expected == FRESH:
                assert len(service.requests) == 1
            assert case.fields.items() <= dict(second.fields).items()
            assert not [name for name in case.absent if name in second.fields]

    run(loop_factory, scenario())


def test_there_are_enough_cases() -> None:
    """The table has cases of every part of the RFCs, each under a name of its own."""
    assert len({str(case) for case in CASES}) == len(CASES) >= 100

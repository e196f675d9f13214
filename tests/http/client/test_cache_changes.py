"""What unsafe methods change is not served any more."""

import asyncio

import pytest

from hasten.http.client import (
    Client,
    ConnectionLost,
    PrivateCache,
)
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.client.services import MINUTE, Service, calling, calling_service, numbered, response
from tests.load.servers import read_request, serving


@pytest.mark.parametrize(
    ("method", "status", "fields", "dropped"),
    [
        ("POST", 200, "", {"/a"}),
        ("PUT", 204, "", {"/a"}),
        ("PATCH", 303, "location: /b", {"/a", "/b"}),
        ("DELETE", 201, "Location: c?d=1", {"/a", "/c?d=1"}),
        ("POST", 201, "content-location: /b", {"/a", "/b"}),
        ("POST", 201, "location: {url}/b", {"/a", "/b"}),
        ("POST", 201, "location: http://other:1/b", {"/a"}),
        ("POST", 201, "location: //[", {"/a"}),
        ("PURGE", 200, "", {"/a"}),
        ("POST", 404, "location: /b", set()),
        ("POST", 500, "location: /b", set()),
        ("OPTIONS", 200, "location: /b", set()),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_changes(
    method: str, status: int, fields: str, dropped: set[str], *, streamed: bool, loop_factory: LoopFactory
) -> None:
    """What an unsafe method has changed is not served any more: its target, and what it names at the same origin."""

    async def scenario() -> None:
        service = Service(response(b"x", MINUTE))
        async with serving(service.handle) as url, Client(url, cache=PrivateCache()) as client:
            targets = {"/a", "/b", "/c?d=1"}
            for target in targets:
                await client.get(target)
            service.answer = lambda request, number: response(b"", fields.format(url=url) or "x: y", status=status)
            if streamed:
                async with client.stream(method, "/a") as answer:
                    assert answer.status == status
            else:
                await client.request(method, "/a")
            service.answer = lambda request, number: response(b"new")
            assert {target for target in targets if not (await client.get(target)).from_cache} == dropped

    run(loop_factory, scenario())


def test_a_change_whose_outcome_is_not_known(loop_factory: LoopFactory) -> None:
    """It may have been made: what is at its target is dropped."""

    async def scenario() -> None:
        service = numbered(MINUTE)
        async with calling_service(service, cache=PrivateCache(), retry=None) as client:
            await client.get("/")
            service.answer = lambda request, number: b""
            with pytest.raises(ConnectionLost):
                await client.post("/")
            service.answer = lambda request, number: response(b"new")
            assert (await client.get("/")).content == b"new"

    run(loop_factory, scenario())


def test_what_a_change_has_overtaken(loop_factory: LoopFactory) -> None:
    """An answer that was asked for before a change, and comes after it, is its caller's, and is not kept."""

    async def scenario() -> None:
        came, opened = asyncio.Event(), asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                if (await read_request(reader)).startswith(b"GET"):
                    came.set()
                    await opened.wait()
                writer.write(response(b"old", MINUTE))

        async with calling(handle, cache=PrivateCache()) as client:
            reading = asyncio.create_task(client.get("/"))
            await came.wait()
            await client.post("/")
            opened.set()
            assert (await reading).content == b"old"
            assert not (await client.get("/")).from_cache
            assert (await client.get("/")).from_cache

    run(loop_factory, scenario())


def test_several_hosts(loop_factory: LoopFactory) -> None:
    """The hosts of a service have the same: what one has brought is kept for all, and dropped by any one's name."""

    async def scenario() -> None:
        service = Service(response(b"x", MINUTE))
        async with (
            serving(service.handle) as one,
            serving(service.handle) as other,
            Client([one, other], cache=PrivateCache()) as client,
        ):
            for url in (one, other):
                await client.get("/b")
                answer = response(b"", f"location: {url}/b")
                service.answer = lambda request, number, answer=answer: answer  # type: ignore[misc]
                await client.post("/a")
                service.answer = lambda request, number: response(b"x", MINUTE)
                assert not (await client.get("/b")).from_cache
                assert (await client.get("/b")).from_cache

    run(loop_factory, scenario())

"""Requests that are cancelled: the app's run for them ends, and nobody else is hurt."""

import asyncio
from typing import Any

import pytest

from hasten.http import Rule
from hasten.resilience import DeadlineExceeded, deadline
from tests.cache.running import passes
from tests.conftest import LoopFactory
from tests.http.case import says
from tests.http.site import Answer, App, Ask, Reply, Site, start, with_site

PAGE = Rule("/{path:path}", ttl=60)


class Watched:
    """An app that waits for ever, or until it may go on, and notes how it ended."""

    def __init__(self, *before: dict[str, Any]) -> None:
        self.before = before
        self.ended: list[str] = []
        self.go_on = asyncio.Event()

    async def talk(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            for message in self.before:
                await send(message)
            await self.go_on.wait()
            if not self.before:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"body"})
            self.ended.append("well")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


START = {"type": "http.response.start", "status": 200, "headers": []}
PART = {"type": "http.response.body", "body": b"part", "more_body": True}
PRIVATE = {"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"private")]}


@pytest.mark.parametrize("before", [(), (START,), (START, PART), (PRIVATE,), (PRIVATE, PART)])
def test_the_app_is_cancelled(loop_factory: LoopFactory, before: tuple[dict[str, Any], ...]) -> None:
    """A request that is cancelled ends the app's run for it, at whatever point that is."""

    async def scenario(site: Site) -> None:
        watched = Watched(*before)
        site.app.talk = watched.talk
        (asked,) = await start(site, Ask())
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert watched.ended == ["cancelled"]
        assert not site.region.flights
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_another_one_leads(loop_factory: LoopFactory) -> None:
    """When the request for which the app runs is cancelled, one of those who wait has it run anew, for all."""

    async def scenario(site: Site) -> None:
        watched = Watched()
        site.app.talk = watched.talk
        first, *others = await start(site, *[Ask()] * 5)
        first.cancel()
        await passes(30)
        assert watched.ended == ["cancelled"]
        assert site.calls == 2
        watched.go_on.set()
        answers = await asyncio.gather(*others)
        assert {answer.body for answer in answers} == {b"body"}
        assert site.calls == 2

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_who_waits_is_cancelled(loop_factory: LoopFactory) -> None:
    """A request that waits for another's response may be cancelled without harm."""

    async def scenario(site: Site) -> None:
        watched = Watched()
        site.app.talk = watched.talk
        first, second, third = await start(site, *[Ask()] * 3)
        second.cancel()
        await passes(30)
        watched.go_on.set()
        assert [(await task).body for task in (first, third)] == [b"body", b"body"]
        assert second.cancelled()
        assert site.calls == 1

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_after_the_response(loop_factory: LoopFactory) -> None:
    """A request that is cancelled in the app's background tasks ends these; the response is kept."""

    async def scenario(site: Site) -> None:
        watched = Watched(START, {"type": "http.response.body", "body": b"whole"})
        site.app.talk = watched.talk
        (asked,) = await start(site, Ask())
        asked.cancel()
        await asyncio.wait([asked])
        assert watched.ended == ["cancelled"]
        assert (await site.get()).state == "hit"

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_while_the_client_is_slow(loop_factory: LoopFactory) -> None:
    """A request that is cancelled while its client takes a stream ends the run and sends nothing more."""

    async def scenario(site: Site) -> None:
        watched = Watched(START, PART, PART)
        site.app.talk = watched.talk
        sent: list[Any] = []

        async def slowly(message: Any) -> None:
            sent.append(message)
            await asyncio.Event().wait()

        asked = asyncio.ensure_future(site.layer(Ask().scope(), asyncio.Event().wait, slowly))  # type: ignore[arg-type]
        await passes(30)
        asked.cancel()
        await asyncio.wait([asked])
        assert watched.ended == ["cancelled"]
        assert len(sent) == 1

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_a_client_that_is_gone(loop_factory: LoopFactory) -> None:
    """A server that raises for a client that is gone ends the run for it; what is whole is kept."""

    async def scenario(site: Site) -> None:
        async def gone(message: Any) -> None:
            raise OSError("gone")

        for reply, kept in ((Reply(), True), (Reply(chunks=(b"a", b"b")), True), (says("private"), False)):
            site.region.drop(list(site.region.entries))
            site.app.replies = [reply]
            with pytest.raises(OSError, match="gone"):
                await site.layer(Ask().scope(), asyncio.Event().wait, gone)  # type: ignore[arg-type]
            assert bool(site.region.entries) == kept
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_a_deadline(loop_factory: LoopFactory) -> None:
    """The ambient deadline of a request ends its run; those who have more time go on."""

    async def scenario(site: Site) -> None:
        watched = Watched()
        site.app.talk = watched.talk

        async def hurried() -> None:
            async with deadline(0.02):
                await site.visit(Ask(), Answer())

        first = asyncio.ensure_future(hurried())
        await passes()
        (second,) = await start(site, Ask())
        with pytest.raises(DeadlineExceeded):
            await first
        assert watched.ended == ["cancelled"]
        watched.go_on.set()
        assert (await second).body == b"body"

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_a_renewal_outlives_its_request(loop_factory: LoopFactory) -> None:
    """A request that is served stale and cancelled leaves the renewal running."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        site.app.gate.clear()
        (asked,) = await start(site, Ask())
        asked.cancel()
        await passes()
        site.app.gate.set()
        await passes()
        assert (await site.get()).state == "hit"
        assert site.calls == 2

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, stale=60)), scenario)

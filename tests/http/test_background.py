"""Renewing what is stale while it is served: the app runs for nobody in particular."""

import asyncio
from typing import Any

import pytest

from hasten.http import Rule
from tests.cache.running import passes
from tests.conftest import LoopFactory
from tests.http.case import asks, says
from tests.http.site import App, Ask, Reply, Site, start, with_site

STALE = Rule("/{path:path}", ttl=60, stale=60)


def test_renewed_once(loop_factory: LoopFactory) -> None:
    """Stale answers come at once while one run renews them; then the new one is there."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        site.app.gate.clear()
        answers = [await site.get() for _ in range(5)]
        assert [answer.state for answer in answers] == ["stale"] * 5
        assert {answer.body for answer in answers} == {b"old"}
        assert site.calls == 2
        site.app.gate.set()
        await passes()
        answer = await site.get()
        assert (answer.state, answer.body, answer.fields["age"]) == ("hit", b"new", "0")

    with_site(loop_factory, lambda: Site(App(Reply(body=b"old"), Reply(body=b"new")), STALE), scenario)


def test_the_scope_of_a_renewal(loop_factory: LoopFactory) -> None:
    """A renewal is a GET without body, client, condition or extension, in a scope of its own."""

    async def scenario(site: Site) -> None:
        heard: list[Any] = []

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            heard.append(await receive())
            scope["state"]["mine"] = True
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"new"})

        await site.get()
        site.wait(61)
        site.app.talk = talk
        own = asks("HEAD", if_none_match='"v0"', x_kept="1", accept="text/html").scope()
        await site.get(own)
        await passes(30)
        scope = site.app.asked[1]
        assert (own["state"], own["method"], own["client"]) == ({}, "HEAD", ("127.0.0.1", 50000))
        assert heard == [{"type": "http.request", "body": b"", "more_body": False}]
        assert (scope["method"], scope["client"], scope["extensions"]) == ("GET", None, {})
        assert dict(scope["headers"]) == {b"host": b"site.example", b"x-kept": b"1", b"accept": b"text/html"}
        assert (await site.get()).body == b"new"

    with_site(loop_factory, lambda: Site(App(), STALE), scenario)


@pytest.mark.parametrize(
    "failure",
    [Reply(status=503), Reply(status=500), Reply(error=ValueError("no")), Reply(chunks=(b"x",), error=OSError())],
)
def test_a_failed_renewal_is_tried_again(loop_factory: LoopFactory, failure: Reply) -> None:
    """A renewal that fails leaves what there is; a second later another one may begin."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        assert [(await site.get()).state for _ in range(3)] == ["stale"] * 3
        assert site.calls == 2
        site.wait(1)
        assert (await site.get()).state == "stale"
        assert (await site.get()).state == "hit"
        assert site.calls == 3

    with_site(loop_factory, lambda: Site(App(Reply(), failure, Reply()), STALE), scenario)


def test_an_error_of_a_renewal_is_told(loop_factory: LoopFactory) -> None:
    """What the app raises while nobody waits for it is the loop's exception handler's, with its traceback."""

    async def scenario(site: Site) -> None:
        told: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        await site.get()
        site.wait(61)
        assert (await site.get()).state == "stale"
        (error,) = told
        assert str(error) == "no"
        assert error.__traceback__ is not None

    with_site(loop_factory, lambda: Site(App(Reply(), Reply(error=ValueError("no"))), STALE), scenario)


@pytest.mark.parametrize(
    "reply", [says("private"), Reply(status=404), Reply(body=b"x" * 100), Reply({"set-cookie": "a=b"})]
)
def test_a_renewal_that_is_not_kept(loop_factory: LoopFactory, reply: Reply) -> None:
    """When the app's new response cannot be kept the stale one is not served any more."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        assert (await site.get()).state == "stale"
        assert (await site.get()).state == "bypass"

    with_site(loop_factory, lambda: Site(App(Reply(), reply), STALE, max_body_bytes=50), scenario)


def test_a_renewal_without_end(loop_factory: LoopFactory) -> None:
    """A renewal that sends more than is kept is ended."""

    async def scenario(site: Site) -> None:
        ended = asyncio.Event()

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 10, "more_body": True})
                    await asyncio.sleep(0)
            finally:
                ended.set()

        await site.get()
        site.wait(61)
        site.app.talk = talk
        assert (await site.get()).state == "stale"
        await ended.wait()

    with_site(loop_factory, lambda: Site(App(), STALE, max_body_bytes=50), scenario)


def test_the_time_of_a_renewal(loop_factory: LoopFactory) -> None:
    """A renewal that takes longer than its time is ended, and what there is stays."""

    async def scenario(site: Site) -> None:
        ended = asyncio.Event()

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        await site.get()
        site.wait(61)
        site.app.talk = talk
        assert (await site.get()).state == "stale"
        await ended.wait()
        assert (await site.get()).state == "stale"

    with_site(loop_factory, lambda: Site(App(), STALE, refresh_timeout=0.01), scenario)


def test_background_tasks_of_a_renewal(loop_factory: LoopFactory) -> None:
    """What the app does after a renewed response does not keep that back, and its failure is told to the loop."""

    async def scenario(site: Site) -> None:
        end, told = asyncio.Event(), []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"new"})
            await end.wait()
            raise ValueError("after")

        await site.get()
        site.wait(61)
        site.app.talk = talk
        assert (await site.get()).state == "stale"
        await passes()
        assert (await site.get()).body == b"new"
        end.set()
        await passes()
        assert [str(error) for error in told] == ["after"]

    with_site(loop_factory, lambda: Site(App(), STALE), scenario)


def test_stale_when_the_app_fails(loop_factory: LoopFactory) -> None:
    """Past what may be served stale all wait for one run, and get what there was when that fails."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 5)
        assert not any(task.done() for task in asked)
        site.app.gate.set()
        answers = await asyncio.gather(*asked)
        assert {(answer.state, answer.status, answer.body) for answer in answers} == {("stale", 200, b"body")}
        assert site.calls == 2

    rule = Rule("/page", ttl=60, stale_if_error=600)
    with_site(loop_factory, lambda: Site(App(Reply(), Reply(status=502)), rule), scenario)


def test_renewed_though_it_could_have_been_stale(loop_factory: LoopFactory) -> None:
    """Past what may be served stale a run that does not fail gives its response to all who wait."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 3)
        site.app.gate.set()
        answers = await asyncio.gather(*asked)
        assert {answer.body for answer in answers} == {b"new"}
        assert sorted(answer.state for answer in answers) == ["hit", "hit", "miss"]
        assert site.calls == 2

    rule = Rule("/page", ttl=60, stale_if_error=600)
    with_site(loop_factory, lambda: Site(App(Reply(), Reply(body=b"new")), rule), scenario)

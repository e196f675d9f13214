"""One run of the app for all who want the same response, unless it is not for all."""

import asyncio
from typing import Any

import pytest

from hasten.http import Rule
from tests.cache.running import passes
from tests.conftest import LoopFactory
from tests.http.case import asks, says
from tests.http.site import Answer, App, Ask, Reply, Site, start, with_site

PAGE = Rule("/{path:path}", ttl=60)


def test_one_run_for_all(loop_factory: LoopFactory) -> None:
    """Requests that come while the app makes a response wait for it."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 20)
        assert site.calls == 1
        site.app.gate.set()
        answers = await asyncio.gather(*asked)
        assert site.calls == 1
        assert sorted(answer.state for answer in answers) == ["hit"] * 19 + ["miss"]
        assert {answer.body for answer in answers} == {b"body"}

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_those_who_wait_have_conditions_of_their_own(loop_factory: LoopFactory) -> None:
    """Of those who wait each gets what its own condition and method ask for."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, asks(if_none_match='"v0"'), asks(if_none_match='"v1"'), Ask())
        site.app.gate.set()
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200, 304, 200]
        assert site.calls == 1
        assert b"if-none-match" not in dict(site.app.asked[0]["headers"])

    with_site(loop_factory, lambda: Site(App(Reply({"etag": '"v1"'})), PAGE), scenario)


@pytest.mark.parametrize(
    "reply",
    [Reply({"cache-control": "private"}), Reply({"set-cookie": "a=b"}), Reply({"vary": "*"}), Reply(status=404)],
)
def test_what_is_not_kept_is_not_given_to_others(loop_factory: LoopFactory, reply: Reply) -> None:
    """When the response turns out not to be for all, each of those who wait has the app run for itself."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 5)
        assert site.calls == 1
        site.app.gate.set()
        await asyncio.gather(*asked)
        assert site.calls == 5

    with_site(loop_factory, lambda: Site(App(reply), PAGE), scenario)


def test_what_is_not_kept_is_not_waited_for(loop_factory: LoopFactory) -> None:
    """Once a response could not be kept, requests for it do not wait for one another."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 5)
        assert site.calls == 6
        site.app.gate.set()
        assert [answer.state for answer in await asyncio.gather(*asked)] == ["bypass"] * 5

    with_site(loop_factory, lambda: Site(App(says("private")), PAGE), scenario)


def test_what_could_not_be_kept_is_tried_again(loop_factory: LoopFactory) -> None:
    """A minute later, or as soon as a response comes that can be kept, those who come wait for one run again."""

    async def scenario(site: Site) -> None:
        states = [(await site.get()).state for _ in range(2)]
        site.wait(60)
        states += [(await site.get()).state for _ in range(4)]
        assert states == ["miss", "bypass", "miss", "bypass", "miss", "hit"]

    replies = (says("private"), says("private"), says("private"), Reply())
    with_site(loop_factory, lambda: Site(App(*replies), PAGE), scenario)


def test_what_was_kept_once_is_not_waited_for_either(loop_factory: LoopFactory) -> None:
    """Requests do not wait for what cannot be kept any more, though an older response was; a failure they share."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61 + 100)
        site.app.replies = [says("private")]
        assert [(await site.get()).state for _ in range(2)] == ["miss", "bypass"]
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 5)
        assert site.calls == 8
        site.app.gate.set()
        await asyncio.gather(*asked)

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, stale_if_error=100)), scenario)


def test_one_person_s_response_says_nothing_of_others(loop_factory: LoopFactory) -> None:
    """A response that is not kept because of the request's credentials does not keep those without from waiting."""

    async def scenario(site: Site) -> None:
        asked = (asks(authorization="alice"), Ask(), Ask())
        assert [(await site.get(ask)).state for ask in asked] == ["miss", "miss", "hit"]

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_nobody_waits_for_background_tasks(loop_factory: LoopFactory) -> None:
    """What the app does after its response keeps neither its client nor those who wait from the response."""

    async def scenario(site: Site) -> None:
        end = asyncio.Event()

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"body"})
            assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
            assert await receive() == {"type": "http.disconnect"}
            await end.wait()

        site.app.talk = talk
        answer = Answer()
        first = asyncio.ensure_future(site.visit(Ask(), answer))
        (second,) = await start(site, Ask())
        assert answer.done
        assert second.done()
        assert not first.done()
        end.set()
        await first

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


@pytest.mark.parametrize("failure", [Reply(status=503), Reply(error=ValueError("no"))])
def test_a_failure_is_its_own_request_s(loop_factory: LoopFactory, failure: Reply) -> None:
    """A failure goes to the request that it is for; those who wait have the app run for themselves."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 3)
        site.app.gate.set()
        first, *others = await asyncio.gather(*asked, return_exceptions=True)
        assert repr(first) == "ValueError('no')" or (not isinstance(first, BaseException) and first.status == 503)
        for other in others:
            assert not isinstance(other, BaseException)
            assert (other.status, other.state) == (200, "bypass")

    with_site(loop_factory, lambda: Site(App(failure, Reply()), PAGE), scenario)


def test_a_failing_app_is_not_waited_for(loop_factory: LoopFactory) -> None:
    """For a second after a failure requests do not wait for one another: each would wait for the next failure."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.app.gate.clear()
        asked = await start(site, Ask(), Ask())
        assert site.calls == 3
        site.wait(1)
        asked += await start(site, Ask(), Ask())
        assert site.calls == 4
        site.app.gate.set()
        await asyncio.gather(*asked)

    with_site(loop_factory, lambda: Site(App(Reply(status=503)), PAGE), scenario)


def test_who_depends_on_more_waits_under_another_key(loop_factory: LoopFactory) -> None:
    """Those who wait for a response that turns out to depend on their language wait for one in theirs."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            language = dict(scope["headers"])[b"accept-language"]
            await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"Accept-Language")]})
            await send({"type": "http.response.body", "body": language})

        site.app.talk = talk
        site.app.gate.clear()
        asked = await start(site, *[asks(accept_language=language) for language in ("de", "en", "de", "en", "en")])
        assert site.calls == 1
        site.app.gate.set()
        answers = await asyncio.gather(*asked)
        assert [answer.body for answer in answers] == [b"de", b"en", b"de", b"en", b"en"]
        assert site.calls == 3
        assert [(await site.get(asks(accept_language=language))).state for language in ("de", "en")] == ["hit", "hit"]

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_fields_that_a_rule_names(loop_factory: LoopFactory) -> None:
    """Request fields of a rule's `vary` are part of the key from the first response on."""

    async def scenario(site: Site) -> None:
        asked = [asks(accept_language=language) for language in ("de", "en", "de", "DE")]
        assert [(await site.get(ask)).state for ask in asked] == ["miss", "miss", "hit", "hit"]

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, vary=("Accept-Language",))), scenario)


def test_an_invalidation_overtakes_a_run(loop_factory: LoopFactory) -> None:
    """A response that the app began before an invalidation goes to those who wait, and is not kept."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, Ask(), Ask())
        await site.cache.invalidate_tags("page")
        site.app.gate.set()
        assert [answer.body for answer in await asyncio.gather(*asked)] == [b"old", b"old"]
        await passes()
        assert (await site.get()).body == b"new"

    rule = Rule("/page", ttl=60, tags=("page",))
    with_site(loop_factory, lambda: Site(App(Reply(body=b"old"), Reply(body=b"new")), rule), scenario)

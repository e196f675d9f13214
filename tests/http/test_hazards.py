"""What caches of responses have got wrong: one person's answer to another, lost headers, a tag for another page."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hasten.http import Rule
from hasten.http._conditions import strong_tag
from tests.conftest import LoopFactory
from tests.http.case import asks, says
from tests.http.site import App, Ask, Reply, Site, start, stays, with_site

PAGE = Rule("/{path:path}", ttl=60)
ALICE, BOB = asks(authorization="alice"), asks(authorization="bob")


async def echo(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
    """Answer with who asked."""
    assert isinstance(scope, dict)
    fields = dict(scope["headers"])
    who = fields.get(b"authorization") or fields.get(b"cookie") or b"nobody"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": who})


def echoing(*rules: Rule) -> Site:
    app = App()
    app.talk = echo
    return Site(app, *rules)


def test_alice_is_not_bob(loop_factory: LoopFactory) -> None:
    """What the app tells one Authorization is told to no other, and to nobody without one."""

    async def scenario(site: Site) -> None:
        assert [(await site.get(ask)).body for ask in (ALICE, BOB, ALICE, Ask())] == [
            b"alice",
            b"bob",
            b"alice",
            b"nobody",
        ]

    with_site(loop_factory, lambda: echoing(PAGE), scenario)


def test_alice_is_not_bob_at_the_same_time(loop_factory: LoopFactory) -> None:
    """Requests that wait for the same key do not get what another's Authorization got."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, ALICE, BOB, Ask(), ALICE)
        site.app.gate.set()
        assert [answer.body for answer in await asyncio.gather(*asked)] == [b"alice", b"bob", b"nobody", b"alice"]

    with_site(loop_factory, lambda: echoing(PAGE), scenario)


def test_alice_gets_more_than_nobody(loop_factory: LoopFactory) -> None:
    """A request with Authorization that waits for what is made for one without gets a response of its own."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, Ask(), ALICE, asks(cookie="bob"), Ask())
        site.app.gate.set()
        assert [(await task).body for task in asked] == [b"nobody", b"alice", b"bob", b"nobody"]
        assert site.calls == 3

    with_site(loop_factory, lambda: echoing(PAGE), scenario)


def test_a_session_is_not_shared(loop_factory: LoopFactory) -> None:
    """Under a rule's ttl a page for a cookie is for that request alone, and the public page is not for it."""

    async def scenario(site: Site) -> None:
        asked = (asks(cookie="alice"), asks(cookie="bob"), Ask(), Ask(), asks(cookie="alice"))
        answers = [await site.get(ask) for ask in asked]
        assert [answer.body for answer in answers] == [b"alice", b"bob", b"nobody", b"nobody", b"alice"]
        assert [answer.state for answer in answers][2:] == ["miss", "hit", "bypass"]

    with_site(loop_factory, lambda: echoing(PAGE), scenario)


def test_cookies_that_do_not_count(loop_factory: LoopFactory) -> None:
    """A rule may say that cookies do not count, and so may a response."""

    async def scenario(site: Site) -> None:
        assert [(await site.get(asks(cookie=who))).state for who in ("a", "b")] == ["miss", "hit"]

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, cookies=True)), scenario)
    with_site(loop_factory, lambda: Site(App(says("max-age=60"))), scenario)


def test_a_page_for_each_session(loop_factory: LoopFactory) -> None:
    """A rule that varies by the Cookie keeps a page for each, and one for those without."""

    async def scenario(site: Site) -> None:
        asked = [asks(cookie="alice"), asks(cookie="bob"), Ask(), asks(cookie="alice"), asks(cookie="bob")]
        answers = [await site.get(ask) for ask in asked]
        assert [answer.body for answer in answers] == [b"alice", b"bob", b"nobody", b"alice", b"bob"]
        assert [answer.state for answer in answers] == ["miss", "miss", "miss", "hit", "hit"]

    with_site(loop_factory, lambda: echoing(Rule("/page", ttl=60, vary=("cookie",))), scenario)


def test_private_and_its_cookie_are_not_replayed(loop_factory: LoopFactory) -> None:
    """A response that is private and sets a cookie is given once."""

    async def scenario(site: Site) -> None:
        first, second = await site.get(), await site.get()
        assert first.fields["set-cookie"] == "sid=alice"
        assert "set-cookie" not in second.fields
        assert second.body == b"bob"

    replies = (Reply({"set-cookie": "sid=alice", "cache-control": "private, no-store"}), Reply(body=b"bob"))
    with_site(loop_factory, lambda: Site(App(*replies), PAGE), scenario)


def test_a_cookie_is_not_replayed_to_who_waits(loop_factory: LoopFactory) -> None:
    """Of requests that wait for the same response each gets the cookie that is set for it."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, Ask(), Ask(), Ask())
        site.app.gate.set()
        answers = await asyncio.gather(*asked)
        assert sorted(answer.fields["set-cookie"] for answer in answers) == ["sid=0", "sid=1", "sid=2"]

    replies = [Reply({"set-cookie": f"sid={number}"}) for number in range(3)]
    with_site(loop_factory, lambda: Site(App(*replies), PAGE), scenario)


def test_a_tag_of_one_url_is_not_another_s(loop_factory: LoopFactory) -> None:
    """A tag that one URL gave out does not make another URL say 304, though the bodies are the same; nor a 404."""

    async def scenario(site: Site) -> None:
        first = await site.get(asks(path="/p/1"))
        tag = first.fields["etag"]
        other = await site.get(Ask([("if-none-match", tag)], "/p/1", "page=2"))
        assert other.status == 200
        for path in ("/p/2", "/p/2", "/gone", "/gone"):
            answer = await site.get(asks(path=path, if_none_match=tag))
            assert answer.status == (404 if path == "/gone" else 200)
        assert (await site.get(asks(path="/p/1", if_none_match=tag))).status == 304

    replies = (Reply(), Reply(), Reply(), Reply(status=404))
    with_site(loop_factory, lambda: Site(App(*replies), PAGE), scenario)


def test_a_tag_of_one_coding_is_not_another_s(loop_factory: LoopFactory) -> None:
    """Variants have tags of their own, though their bodies are the same."""

    async def scenario(site: Site) -> None:
        gzip = [await site.get(asks(accept_encoding="gzip")) for _ in range(2)][1]
        plain = await site.get(asks(accept_encoding="identity"))
        assert gzip.fields["content-encoding"] == "gzip"
        assert gzip.fields["etag"] != plain.fields["etag"]

    zipped, plain = Reply({"vary": "accept-encoding", "content-encoding": "gzip"}), Reply({"vary": "accept-encoding"})
    with_site(loop_factory, lambda: Site(App(zipped, zipped, plain), PAGE), scenario)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_tag_is_the_same_in_each_process(seed: str) -> None:
    """A made tag does not depend on the process or its PYTHONHASHSEED."""
    program = "from hasten.http._conditions import strong_tag; print(strong_tag(b'/a', b'body').decode())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=15,
    )
    assert done.stdout.strip() == strong_tag(b"/a", b"body").decode()


def test_a_hit_keeps_status_and_headers(loop_factory: LoopFactory) -> None:
    """A hit has the status and all fields of the response, in their order, those that are there twice as well."""

    async def scenario(site: Site) -> None:
        await site.get()
        answer = await site.get()
        assert (answer.status, answer.state) == (203, "hit")
        assert answer.pairs[:4] == [("x-a", "1"), ("link", "</a>"), ("link", "</b>"), ("x-c", "ü")]

    reply = Reply([("X-A", "1"), ("Link", "</a>"), ("Link", "</b>"), ("X-C", "ü")], status=203)
    with_site(loop_factory, lambda: Site(App(reply), PAGE), scenario)


def test_who_changes_a_response_changes_no_other(loop_factory: LoopFactory) -> None:
    """Layers outside of the cache change messages in place, and only the one that they have."""

    async def scenario(site: Site) -> None:
        got: list[Any] = []

        async def changes(message: Any) -> None:
            if message["type"] == "http.response.start":
                got.append(list(message["headers"]))
                message["headers"].append((b"access-control-allow-origin", b"alice"))
                message["headers"] = []
            message["body"] = b""

        for _ in range(3):
            await site.layer(Ask().scope(), stays, changes)
        assert all(b"access-control-allow-origin" not in dict(headers) for headers in got)
        assert (await site.get()).body == b"body"

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_parameters_that_do_not_count_do_not_poison(loop_factory: LoopFactory) -> None:
    """The app does not see a query parameter that is no part of the key, so it cannot be in anybody's response."""

    async def scenario(site: Site) -> None:
        first = await site.get(Ask(query="page=1&callback=evil"))
        second = await site.get(Ask(query="utm=x&page=1"))
        assert (first.state, second.state) == ("miss", "hit")
        assert site.app.asked[0]["query_string"] == b"page=1"

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, query=("page",))), scenario)


def test_a_path_that_is_rewritten(loop_factory: LoopFactory) -> None:
    """What a layer outside of the cache makes of the address, by a language or a prefix, tells responses apart."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": f"{scope['root_path']} {scope['path']}".encode()})

        site.app.talk = talk
        for _ in range(2):
            for root, path in (("", "/de"), ("", "/en"), ("/shop", "/de"), ("/other", "/de")):
                answer = await site.get(Ask().scope() | {"path": path, "root_path": root})
                assert answer.body.decode() == f"{root} {path}"
        assert site.calls == 4

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_a_host_of_one_s_own_is_nobody_else_s(loop_factory: LoopFactory) -> None:
    """Links that the app makes of Host, or of a field that the rule names, are never in another one's response."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            fields = dict(scope["headers"])
            link = scope["scheme"].encode() + b"://" + fields.get(b"x-forwarded-host", fields[b"host"])
            await send({"type": "http.response.start", "status": 200, "headers": [(b"link", link)]})
            await send({"type": "http.response.body", "body": b""})

        site.app.talk = talk
        evil = [Ask(host="evil.example"), Ask({"x-forwarded-host": "evil.example"}), Ask(scheme="https")]
        for ask in evil:
            await site.get(ask)
        assert (await site.get()).fields["link"] == "http://site.example"

    rule = Rule("/page", ttl=60, vary=("x-forwarded-host",))
    with_site(loop_factory, lambda: Site(App(), rule), scenario)


@pytest.mark.parametrize("part", ["path", "query", "field"])
def test_what_is_long_is_not_kept(loop_factory: LoopFactory, part: str) -> None:
    """Requests whose addresses and fields are long take no memory: there may be as many as one likes."""

    async def scenario(site: Site) -> None:
        long = "x" * 9000
        ask = {"path": Ask(path=f"/{long}"), "query": Ask(query=long), "field": asks(x_a=long)}[part]
        assert [(await site.get(ask)).state for _ in range(2)] == ["bypass", "bypass"]
        assert not site.region.entries

    with_site(loop_factory, lambda: Site(App(), Rule("/{path:path}", ttl=60, vary=("x-a",))), scenario)

"""Tags that the app names in a response field: what they drop, who gets the field, and what is not kept."""

import asyncio
from typing import Any

import pytest

from hasten.http import Rule
from hasten.http._tag_field import MOST_TAGS
from tests.cache.running import passes
from tests.conftest import LoopFactory
from tests.http.case import asks
from tests.http.site import App, Ask, Reply, Site, Talk, start, with_site

RULE = Rule("/{path:path}", ttl=60, stale=60, tag_header="Cache-Tag", tags=("all",))
TAGGED = Reply({"cache-tag": "product:7, product:8", "x-a": "1"})


def site_of(*replies: Reply, rule: Rule = RULE, talk: Talk | None = None) -> Site:
    app = App(*(replies or [TAGGED]))
    app.talk = talk
    return Site(app, rule)


@pytest.mark.parametrize("tag", ["product:7", "product:8", "all"])
def test_a_tag_drops_what_has_it(loop_factory: LoopFactory, tag: str) -> None:
    """Any tag that the app or the rule has named drops the response, and one that neither has does not."""

    async def scenario(site: Site) -> None:
        assert [(await site.get()).state for _ in range(2)] == ["miss", "hit"]
        await site.cache.invalidate_tags("product:9", "Product:7", "product:7,product:8")
        assert (await site.get()).state == "hit"
        await site.cache.invalidate_tags(tag)
        assert [(await site.get()).state for _ in range(2)] == ["miss", "hit"]

    with_site(loop_factory, site_of, scenario)


def test_separated_by_spaces(loop_factory: LoopFactory) -> None:
    """So it is with the tags of a Surrogate-Key, and of one in several lines."""

    async def scenario(site: Site) -> None:
        for tag in ("product:7", "product:8", "news"):
            await site.get()
            assert (await site.get()).state == "hit"
            await site.cache.invalidate_tags(tag)
            assert (await site.get()).state == "miss"

    reply = Reply([("surrogate-key", "product:7 product:8"), ("surrogate-key", "news")])
    rule = Rule("/{path:path}", ttl=60, tag_header="surrogate-key")
    with_site(loop_factory, lambda: site_of(reply, rule=rule), scenario)


def test_tags_of_each_response(loop_factory: LoopFactory) -> None:
    """Each response has its own tags, a new one those that it names itself."""

    async def scenario(site: Site) -> None:
        for path in ("/7", "/8"):
            await site.get(Ask(path=path))
        await site.cache.invalidate_tags("product:7")
        assert [(await site.get(Ask(path=path))).state for path in ("/7", "/8")] == ["miss", "hit"]
        await site.cache.invalidate_tags("product:7")  # which the new one does not name any more
        assert (await site.get(Ask(path="/7"))).state == "hit"
        await site.cache.invalidate_tags("news")
        assert (await site.get(Ask(path="/7"))).state == "miss"

    replies = (Reply({"cache-tag": tag}) for tag in ("product:7", "product:8", "news"))
    with_site(loop_factory, lambda: site_of(*replies), scenario)


def test_a_renewed_response_has_its_tags(loop_factory: LoopFactory) -> None:
    """What is renewed in the background is dropped by the tags that it then names, and has them for itself."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        assert (await site.get()).state == "stale"
        await passes(30)
        answer = await site.get()
        assert (answer.state, answer.body) == ("hit", b"new")
        assert "cache-tag" not in answer.fields
        await site.cache.invalidate_tags("news")
        assert (await site.get()).state == "miss"

    with_site(loop_factory, lambda: site_of(TAGGED, Reply({"cache-tag": "news"}, body=b"new")), scenario)


# ---- who gets the field


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Answer in parts, with the field in letters as an app may write them."""
    headers = [(b"Cache-Tag", b"product:7"), (b"x-a", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


@pytest.mark.parametrize("talk", [None, early], ids=["whole", "in parts"])
@pytest.mark.parametrize(
    "ask",
    [
        Ask(),
        asks("HEAD"),
        asks(if_none_match='"other"'),
        asks(range="bytes=0-1"),
        asks(cache_control="no-store"),
        asks(authorization="alice"),
        asks(cookie="alice"),
        asks("PUT"),
        asks("HEAD", cache_control="no-store"),
    ],
    ids=lambda ask: f"{ask.method} {' '.join(ask.fields)}",
)
def test_clients_do_not_get_the_field(loop_factory: LoopFactory, ask: Ask, talk: Talk | None) -> None:
    """The first answer has all fields but that one, and so has the next, wherever they come from."""

    async def scenario(site: Site) -> None:
        for _ in range(3):
            answer = await site.get(ask)
            assert answer.status == 200
            assert answer.fields["x-a"] == "1"
            assert "cache-tag" not in {name.lower() for name in answer.fields}

    with_site(loop_factory, lambda: site_of(talk=talk), scenario)


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"cache-tag": "product:7", "cache-control": "private"}),
        Reply({"cache-tag": "product:7", "set-cookie": "a=b"}),
        Reply({"cache-tag": "product:7"}, body=b"x" * 2000),
        Reply({"cache-tag": "product:7"}, chunks=(b"x" * 600, b"x" * 600)),
        Reply({"cache-tag": "product:7"}, status=404),
        Reply({"cache-tag": "product:7"}, status=503),
        Reply({"cache-tag": "product:7", "content-length": "7"}),
        Reply({"cache-tag": "two words, one"}),
    ],
)
def test_nor_of_what_is_not_kept(loop_factory: LoopFactory, reply: Reply) -> None:
    """Responses that cannot be kept go out without the field, those whom the cache lets pass as well."""

    async def scenario(site: Site) -> None:
        for _ in range(3):
            answer = await site.get()
            assert answer.status == reply.status
            assert answer.state != "hit"
            assert "cache-tag" not in answer.fields

    with_site(loop_factory, lambda: Site(App(reply), RULE, max_body_bytes=1000), scenario)


def test_a_cache_in_front_may_have_the_field(loop_factory: LoopFactory) -> None:
    """With `send_tags` each answer has the field as the app sent it, from the cache, too."""

    async def scenario(site: Site) -> None:
        answers = [await site.get(ask) for ask in (Ask(), Ask(), asks("HEAD"), asks(range="bytes=0-1"), asks("PUT"))]
        assert [answer.fields["x-cache"] for answer in answers[:4]] == ["miss", "hit", "hit", "bypass"]
        assert {answer.fields["cache-tag"] for answer in answers} == {"product:7, product:8"}
        await site.cache.invalidate_tags("product:8")
        assert (await site.get()).state == "miss"

    rule = Rule("/{path:path}", ttl=60, tag_header="cache-tag", send_tags=True)
    with_site(loop_factory, lambda: site_of(rule=rule), scenario)


def test_other_rules_leave_the_field_alone(loop_factory: LoopFactory) -> None:
    """A path whose rule does not ask for the field has it like any other one, and no tags by it."""

    async def scenario(site: Site) -> None:
        assert [(await site.get()).fields["cache-tag"] for _ in range(2)] == ["product:7, product:8"] * 2
        await site.cache.invalidate_tags("product:7")
        assert (await site.get()).state == "hit"

    with_site(loop_factory, lambda: site_of(rule=Rule("/{path:path}", ttl=60)), scenario)


# ---- what is not kept


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"x-other": "product:7"},
        {"cache-tag": "x" * 201},
        {"cache-tag": ",".join(f"tag:{number}" for number in range(MOST_TAGS + 1))},
        {"cache-tag": "product:7, größe"},
        {"cache-tag": "product 7, product 8"},
        {"cache-tag": "product:7\x01"},
    ],
    ids=["none", "another field", "long", "many", "letters", "blanks in a list", "control"],
)
def test_never_kept_without_a_tag(loop_factory: LoopFactory, fields: dict[str, str]) -> None:
    """A response that does not say what drops it is not kept, nor given to others, and does not make them wait."""

    async def scenario(site: Site) -> None:
        site.app.gate.clear()
        asked = await start(site, *[Ask()] * 3)
        site.app.gate.set()
        assert {answer.body for answer in await asyncio.gather(*asked)} == {b"body"}
        assert site.calls == 3
        assert [(await site.get()).state for _ in range(2)] == ["bypass"] * 2
        assert not site.region.entries

    with_site(loop_factory, lambda: site_of(Reply(fields)), scenario)


def test_an_empty_field(loop_factory: LoopFactory) -> None:
    """An empty field says that nothing but the rule's tags drops the response."""

    async def scenario(site: Site) -> None:
        assert [(await site.get()).state for _ in range(2)] == ["miss", "hit"]
        await site.cache.invalidate_tags("all")
        assert (await site.get()).state == "miss"

    with_site(loop_factory, lambda: site_of(Reply({"cache-tag": ""})), scenario)


def test_kept_again_when_it_has_tags_again(loop_factory: LoopFactory) -> None:
    """A response that names its tags again is kept again, from the next one on."""

    async def scenario(site: Site) -> None:
        states = [(await site.get()).state for _ in range(4)]
        assert states == ["miss", "bypass", "miss", "hit"]

    with_site(loop_factory, lambda: site_of(Reply(), TAGGED), scenario)


def test_a_renewal_without_tags(loop_factory: LoopFactory) -> None:
    """A response that is renewed by one that names no tags is dropped."""

    async def scenario(site: Site) -> None:
        await site.get()
        site.wait(61)
        assert (await site.get()).state == "stale"
        await passes(30)
        assert not site.region.entries

    with_site(loop_factory, lambda: site_of(TAGGED, Reply()), scenario)

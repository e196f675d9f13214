"""The layer as a part of an app: what goes through, what is invalidated, what it is given."""

import asyncio
from typing import Any

import pytest

from hasten._core.errors import ConfigurationError
from hasten.cache import Cache
from hasten.http import ResponseCache, Rule
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.case import asks, says
from tests.http.site import App, Ask, Reply, Site, start, stays, with_site

PAGE = Rule("/{path:path}", ttl=60)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_go_through(loop_factory: LoopFactory, kind: str) -> None:
    """Lifespan and websockets are the app's, with the very objects that the server gave."""

    async def scenario() -> None:
        got: list[Any] = []

        async def app(*arguments: Any) -> None:
            got.extend(arguments)

        async def send(message: Any) -> None:
            pass

        scope = {"type": kind}
        await ResponseCache(app, cache=Cache(), rules=[PAGE])(scope, stays, send)
        assert got == [scope, stays, send]
        assert got[0] is scope

    run(loop_factory, scenario())


def test_paths_without_a_rule_go_through(loop_factory: LoopFactory) -> None:
    """A request for which there is no rule is the app's, untouched, and its response has no field of ours."""

    async def scenario(site: Site) -> None:
        ask = Ask(path="/other").scope()
        answers = [await site.get(ask) for _ in range(2)]
        assert site.app.asked[0] is ask
        assert site.calls == 2
        assert all("x-cache" not in answer.fields for answer in answers)

    with_site(loop_factory, lambda: Site(App(says("max-age=60")), Rule("/page", ttl=60)), scenario)


def test_methods_of_a_rule(loop_factory: LoopFactory) -> None:
    """HEAD is the app's when the rule is for GET alone."""

    async def scenario(site: Site) -> None:
        await site.get()
        assert [(await site.get(asks(method))).state for method in ("HEAD", "GET")] == ["bypass", "hit"]

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60, methods=("GET",))), scenario)


def test_a_mounted_app(loop_factory: LoopFactory) -> None:
    """Rules are for the paths of the app's routes, wherever that is mounted; so is what a change invalidates."""

    async def scenario(site: Site) -> None:
        states = []
        for method in ("GET", "GET", "PUT", "GET"):
            answer = await site.get(asks(method, "/api/page").scope() | {"root_path": "/api"})
            states.append(answer.fields.get("x-cache"))
        assert states == ["miss", "hit", None, "miss"]

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60)), scenario)


@pytest.mark.parametrize(("path", "root"), [("/apipage", "/api"), ("/page", "/api"), ("/page", "/page/more")])
def test_a_root_path_that_is_none(loop_factory: LoopFactory, path: str, root: str) -> None:
    """A path that does not lie under the root path is taken as it is."""

    async def scenario(site: Site) -> None:
        answer = await site.get(Ask(path=path).scope() | {"root_path": root})
        assert ("x-cache" in answer.fields) == (path == "/page")

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=60)), scenario)


def test_invalidation_by_tag(loop_factory: LoopFactory) -> None:
    """`invalidate_tags` drops the responses with the tag, and no others."""

    async def scenario(site: Site) -> None:
        for path in ("/p/1", "/p/2"):
            await site.get(Ask(path=path))
        assert await site.cache.invalidate_tags("p:1")
        assert [(await site.get(Ask(path=path))).state for path in ("/p/1", "/p/2")] == ["miss", "hit"]

    with_site(loop_factory, lambda: Site(App(), Rule("/p/{id}", ttl=60, tags=("p:{id}",))), scenario)


def test_a_change_invalidates_all_variants(loop_factory: LoopFactory) -> None:
    """A change of a path drops its responses for every query, host and language."""

    async def scenario(site: Site) -> None:
        asked = [asks(accept_language="de"), Ask(query="a=1"), Ask(host="other.example"), Ask()]
        for ask in asked:
            await site.get(ask)
        await site.get(asks("PUT"))
        assert [(await site.get(ask)).state for ask in asked] == ["miss"] * 4

    rule = Rule("/page", ttl=60, vary=("accept-language",))
    with_site(loop_factory, lambda: Site(App(), rule), scenario)


def test_a_change_invalidates_the_tags_of_its_path(loop_factory: LoopFactory) -> None:
    """What has a tag of the path's rule is dropped by a change, too: a list, a function's result."""

    async def scenario(site: Site) -> None:
        await site.get(Ask(path="/products"))
        await site.cache.set("key", "value", 60, tags=["products"])
        await site.get(asks("PATCH", "/products/7"))
        assert (await site.get(Ask(path="/products"))).state == "miss"
        assert await site.cache.get("key") is None

    rules = (Rule("/products", ttl=60, tags=("products",)), Rule("/products/{id}", tags=("products", "product:{id}")))
    with_site(loop_factory, lambda: Site(App(), *rules), scenario)


def test_a_change_drops_what_can_be_dropped(loop_factory: LoopFactory) -> None:
    """A change of a path of whose tags one is none drops what has the others."""

    async def scenario(site: Site) -> None:
        await site.get(Ask(path="/products"))
        await site.get(asks("PUT", "/products/a%20b"))
        assert (await site.get(Ask(path="/products"))).state == "miss"
        assert [(await site.get(Ask(path="/products/a%20b"))).state for _ in range(2)] == ["bypass", "bypass"]

    rules = (
        Rule("/products", ttl=60, tags=("products",)),
        Rule("/products/{name}", ttl=60, tags=lambda found: ["products", found["name"]]),
    )
    with_site(loop_factory, lambda: Site(App(), *rules), scenario)


def test_layers_further_in_change_the_scope(loop_factory: LoopFactory) -> None:
    """What layers behind the cache make of the path does not change what it is for the cache."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            scope["root_path"] = "/api"
            scope["path"] = "/inside"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"body"})

        site.app.talk = talk
        answers = [await site.get(asks(method, "/api/page")) for method in ("GET", "GET", "PUT", "GET")]
        assert [answer.fields.get("x-cache") for answer in answers] == ["miss", "hit", None, "miss"]

    with_site(loop_factory, lambda: Site(App(), Rule("/api/page", ttl=60)), scenario)


@pytest.mark.parametrize(("status", "state"), [(None, "miss"), (409, "hit"), (200, "miss")])
def test_a_change_that_is_cancelled(loop_factory: LoopFactory, status: int | None, state: str) -> None:
    """A change that is cancelled before it says how it went may have been made: what there was is dropped."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            if status is not None:
                await send({"type": "http.response.start", "status": status, "headers": []})
            await asyncio.Event().wait()

        await site.get()
        site.app.talk = talk
        (asked,) = await start(site, asks("PUT"))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        site.app.talk = None
        assert (await site.get()).state == state

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_a_change_is_seen_by_who_made_it(loop_factory: LoopFactory) -> None:
    """When the client hears of its change, the old response is gone; and again when the app has returned."""

    async def scenario(site: Site) -> None:
        states: list[str] = []

        async def talk(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            site.app.talk = None
            states.append((await site.get()).state)  # reads what is not committed yet
            states.append((await site.get()).state)
            await send({"type": "http.response.body", "body": b""})

        await site.get()
        site.app.talk = talk
        await site.get(asks("PUT"))
        states.append((await site.get()).state)
        assert states == ["miss", "hit", "miss"]

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


def test_a_rule_s_time_begins_with_the_response(loop_factory: LoopFactory) -> None:
    """A rule's ttl counts from the response, however long the app took; Age counts from the request."""

    async def scenario(site: Site) -> None:
        async def talk(scope: Any, receive: Any, send: Any) -> None:
            site.now += 30
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"body"})

        site.app.talk = talk
        await site.get()
        site.wait(9)
        answer = await site.get()
        assert (answer.state, answer.fields["age"]) == ("hit", "39")

    with_site(loop_factory, lambda: Site(App(), Rule("/page", ttl=10)), scenario)


def test_what_was_made_together_does_not_end_together(loop_factory: LoopFactory) -> None:
    """A rule's ttl is cut a little by chance; a time that a response gives is kept to."""

    async def scenario(site: Site) -> None:
        ends: dict[str, set[float]] = {"rule": set(), "own": set()}
        for number in range(20):
            await site.get(Ask(path=f"/rule/{number}"))
        site.app.replies = [says("max-age=1000")]
        for number in range(20):
            await site.get(Ask(path=f"/own/{number}"))
        for key, entry in site.region.entries.items():
            ends[str(key).split("/")[1]].add(round(entry.fresh_until - entry.loaded_at))
        assert len(ends["rule"]) > 5
        assert all(950 <= end <= 1000 for end in ends["rule"])
        assert ends["own"] == {1000}

    with_site(loop_factory, lambda: Site(App(), Rule("/{path:path}", ttl=1000)), scenario)


def test_the_name_of_the_field(loop_factory: LoopFactory) -> None:
    """The field that says where a response came from has the name that is given."""

    async def scenario(site: Site) -> None:
        assert [(await site.get()).fields["x-hasten"] for _ in range(2)] == ["miss", "hit"]

    with_site(loop_factory, lambda: Site(App(), PAGE, header="X-Hasten"), scenario)


def test_clients_that_are_not_obeyed(loop_factory: LoopFactory) -> None:
    """A cache may take no orders from clients."""

    async def scenario(site: Site) -> None:
        await site.get()
        asked = ("no-cache", "no-store", "max-age=0", "min-fresh=100")
        assert {(await site.get(asks(cache_control=control))).state for control in asked} == {"hit"}

    with_site(loop_factory, lambda: Site(App(), PAGE, obey_clients=False), scenario)


def test_numbers(loop_factory: LoopFactory) -> None:
    """The cache's statistics count responses under the region's name."""

    async def scenario(site: Site) -> None:
        for _ in range(3):
            await site.get()
        counts = site.cache.statistics().regions["pages"]
        assert (counts.hits, counts.misses, counts.loads) == (2, 1, 1)

    with_site(loop_factory, lambda: Site(App(), PAGE, name="pages"), scenario)


def test_two_apps_share_a_cache(loop_factory: LoopFactory) -> None:
    """Two apps with one cache need two names, and share nothing then."""

    async def scenario() -> None:
        cache = Cache()
        first, second = Site(App(), PAGE, cache=cache), Site(App(), PAGE, cache=cache, name="second")
        assert [(await site.get()).state for site in (first, second, first)] == ["miss", "miss", "hit"]
        with pytest.raises(ConfigurationError, match="taken"):
            Site(App(), PAGE, cache=cache)

    run(loop_factory, scenario())


def test_keys_are_bounded(loop_factory: LoopFactory) -> None:
    """Responses, paths and keys that are not kept take a bounded memory, whatever is asked for."""

    async def scenario() -> None:
        site = Site(App(), Rule("/{path:path}", ttl=60), cache=Cache("memory://?max_entries=50"))
        for number in range(200):
            await site.get(Ask(path=f"/{number}", query=f"q={number}", host=f"{number}.example"))
        assert len(site.region.entries) == 50
        site.app.replies = [says("private")]
        site.layer._origin.unkept._most = 50
        for number in range(200):
            await site.get(Ask(path=f"/private/{number}"))
        assert len(site.layer._origin.unkept) == 50

    run(loop_factory, scenario())


def test_what_a_server_need_not_say(loop_factory: LoopFactory) -> None:
    """A server may leave out the scheme and the root path, and the raw path, in whose place the decoded one counts."""

    async def scenario(site: Site) -> None:
        site.app.replies = [Reply(), Reply({"location": "/ä"}), Reply()]
        for method, expected in (("GET", "miss"), ("GET", "hit"), ("PUT", None), ("GET", "miss")):
            scope = asks(method, "/%C3%A4").scope()
            del scope["raw_path"], scope["root_path"], scope["scheme"]
            assert (await site.get(scope)).fields.get("x-cache") == expected

    with_site(loop_factory, lambda: Site(App(), PAGE), scenario)


SHORT_WAYS: dict[str, tuple[dict[str, Any], Rule]] = {
    "plain": ({}, Rule("/page", ttl=60)),
    "a query": ({"query_string": b"b=2&a=1"}, Rule("/page", ttl=60)),
    "a part of a query": ({"query_string": b"b=2&a=1"}, Rule("/page", ttl=60, query=("a",))),
    "fields that count": ({}, Rule("/page", ttl=60, vary=("x-a", "x-b"))),
    "a root path": ({"root_path": "/api", "path": "/api/page"}, Rule("/page", ttl=60)),
    "no raw path": ({"raw_path": None}, Rule("/page", ttl=60)),
    "cookies that do not count": ({}, Rule("/page", ttl=60, cookies=True)),
}


@pytest.mark.parametrize(("scope", "rule"), SHORT_WAYS.values(), ids=SHORT_WAYS)
def test_a_hit_takes_the_short_way(loop_factory: LoopFactory, scope: dict[str, Any], rule: Rule) -> None:
    """A plain hit is answered without a closer look: the short way makes the same key as the long one."""

    async def scenario(site: Site) -> None:
        ask = asks(x_a="1", **({"cookie": "a=b"} if rule.cookies else {})).scope() | scope
        await site.get(dict(ask))
        del site.layer._region  # nothing but the short way does without it
        assert (await site.get(dict(ask))).state == "hit"

    with_site(loop_factory, lambda: Site(App(), rule), scenario)


def test_no_rule_for_nobody(loop_factory: LoopFactory) -> None:
    """Without rules everything goes through."""

    async def scenario() -> None:
        site = Site(App())
        site.layer = ResponseCache(site.app, cache=Cache(), rules=[])
        assert [(await site.get(asks(method))).body for method in ("GET", "PUT")] == [b"body", b"body"]

    run(loop_factory, scenario())

"""What the cache refuses, with a message that says what, where, and what to do."""

import math
import re
import traceback
from collections.abc import Callable, Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from hasten import ConfigurationError
from hasten.cache import Cache, Loaded, Policy
from hasten.cache._checks import without_password
from hasten.cache.stores.memcached import memcached_store
from hasten.cache.stores.redis import redis_store
from tests.cache.running import run
from tests.conftest import LoopFactory


async def load_product(number: int) -> int:
    return number


async def load() -> int:
    return 1


# ---- addresses


@pytest.mark.parametrize(
    "place",
    [
        "user:secret@localhost",
        ":secret@localhost:1/0",
        "user:se/cret@localhost",
        "user:12/secret@localhost",
        "user:se?cret@localhost",
        "user:se#cret@localhost",
        "user:se[cret]@localhost",
        "user:@secret@localhost:x",
        "localhost:x?password=secret",
        "localhost:x?sentinel_password=@secret",
        "localhost/secret@x",
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss+sentinel", "redis+cluster", "memcached", "valkey", "memory", ""])
def test_no_password_is_shown(scheme: str, place: str) -> None:
    """Whatever is wrong with an address, neither the message nor what hangs on it shows its login or its options."""
    address = f"{scheme}://{place}" if scheme else place
    for memory, second in ((address, None), ("memory://", address)):
        try:
            Cache(memory, second)
        except ConfigurationError as error:
            said = "".join(traceback.format_exception(error)[-1:]) + str(error.__cause__)
            assert not re.search("secret|cret|se/|'se|\\bse\\b", said), said


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://u:p@host:1/2?x=y", "redis://host:1/2"),
        ("redis://host", "redis://host"),
        ("u:p@host", "host"),
        ("redis://host?password=p@q", "redis://..."),
        ("redis://u:p@host?password=p@q", "redis://..."),
        ("redis://u:p#q@host", "redis://host"),
    ],
)
def test_without_password(address: str, shown: str) -> None:
    """What is shown of an address is where it leads, as far as that is certain."""
    assert without_password(address) == shown


def test_the_second_tier_in_the_place_of_the_first() -> None:
    """Who gives an address of Redis first is told where it belongs."""
    with pytest.raises(
        ConfigurationError, match=r'redis://localhost: the first tier is memory://.*Cache\("memory://", '
    ):
        Cache("redis://user:secret@localhost")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://localhost/abc", "abc is no number of a database"),
        ("redis://localhost/1/2", "1/2 is no number"),
        ("redis://localhost/²", "² is no number"),
        ("redis+sentinel://localhost/shop/abc", "abc is no number"),
        ("redis+cluster://localhost/1", "/1 is behind the hosts, but a cluster has database 0 alone"),
        ("redis://user:pa/ss@localhost", "its @ comes after a / .r #; write these in a password as %2F %3F %23"),
        ("redis://user:pa[ss]@localhost", "is no URL; write .* as %5B and %5D"),
    ],
)
def test_addresses_of_redis(url: str, problem: str) -> None:
    """A database that is no number is refused, where redis-py would take database 0; so is a password not encoded."""
    with pytest.raises(ConfigurationError, match=problem.replace(".r #", r"\? or #")):
        redis_store(url)


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://localhost/", "redis://localhost/7", "redis+cluster://localhost/0"]
)
def test_databases_of_redis(url: str) -> None:
    """A number, or nothing, is taken."""
    redis_store(url)


def test_a_memcached_that_is_no_url() -> None:
    """A bracket that closes nothing is no exception of another kind."""
    with pytest.raises(ConfigurationError, match="is no URL"):
        memcached_store("memcached://[::1")


# ---- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loads": 0}, "Cache(max_loads=0): must be at least 1; None is no bound"),
        ({"max_loads": -1}, "Cache(max_loads=-1): must be at least 1; None is no bound"),
        ({"on_error": "Raise"}, "Cache(on_error='Raise'): must be 'serve' or 'raise'"),
        ({"timeout": 0}, "Cache(timeout=0): must be above 0 and finite; for example timeout=0.05"),
        ({"timeout": math.inf}, "Cache(timeout=inf): must be above 0 and finite; for example timeout=0.05"),
        ({"timeout": math.nan}, "Cache timeout=nan: must be from 0 to inf"),
        ({"timeout": "1s"}, "Cache timeout='1s': must be seconds; for example timeout=30"),
        (
            {"namespace": ""},
            "Cache(namespace=''): must be printable text without { and }; for example namespace=\"shop\"",
        ),
        ({"namespace": "a{b"}, "Cache(namespace='a{b'): must be printable text without { and }; for example"),
        ({"namespace": "a}b"}, "Cache(namespace='a}b'): must be printable text without { and }; for example"),
        ({"namespace": "a\n"}, "Cache(namespace='a\\n'): must be printable text without { and }; for example"),
        ({"namespace": "\ud800"}, "Cache(namespace='\\ud800'): must be printable text without { and }; for example"),
    ],
)
def test_options_of_a_cache(options: dict[str, Any], message: str) -> None:
    """An option that would do nothing, or harm later, is refused when the cache is made."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Cache(**options)


# ---- policies


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ttl": "30s"}, "ttl='30s': must be seconds; for example ttl=30"),
        ({"ttl": timedelta(seconds=30)}, "must be seconds; give its total_seconds()"),
        ({"ttl": Decimal(30)}, "must be seconds; for example ttl=30"),
        ({"ttl": math.nan}, "ttl=nan: must be from 0 to inf"),
        ({"ttl": -1}, "ttl=-1: must be from 0 to inf"),
        ({"ttl": 1, "none_ttl": -1}, "none_ttl=-1: must be from 0 to inf"),
        ({"ttl": 1, "none_ttl": math.nan}, "none_ttl=nan: must be from 0 to inf"),
        ({"ttl": 1, "none_ttl": "5"}, "none_ttl='5': must be seconds; for example none_ttl=30"),
        ({"ttl": 1, "hard_timeout": None}, "hard_timeout=None: must be seconds; for example hard_timeout=30"),
        ({"ttl": 1, "jitter": "0.1"}, "jitter='0.1': must be from 0 to 1"),
        ({"ttl": 1, "lease": 0}, "lease=0: must be from 0.1 to 3600"),
        ({"ttl": 1, "lease": math.nan}, "lease=nan: must be from 0.1 to 3600"),
        ({"ttl": 1, "soft_timeout": 0.1}, "nothing to serve when it is over; give stale_if_error=, longer than stale="),
        ({"ttl": 1, "soft_timeout": 0.1, "stale": 9, "stale_if_error": 9}, "longer than stale="),
    ],
)
def test_fields_of_a_policy(fields: dict[str, Any], message: str) -> None:
    """A field that is no number, out of its bounds, or of no use is refused."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Policy(**fields)


@pytest.mark.parametrize(
    ("fields", "lease"),
    [
        ({}, 10.0),
        ({"hard_timeout": 60.0}, 10.0),
        ({"hard_timeout": 2}, 2),
        ({"hard_timeout": 0.0}, 0.1),
        ({"hard_timeout": 2, "lease": 30.0}, 30.0),
    ],
)
def test_the_lease_is_no_longer_than_a_load(fields: dict[str, Any], lease: float) -> None:
    """A process that is killed while it loads makes others wait for as long as a load may take, 10 s at most."""
    assert Policy(ttl=1.0, **fields).lease == lease


# ---- the decorator and explicit keys


def decorated(*arguments: Any, **options: Any) -> Callable[[], object]:
    return lambda: cast("Any", Cache()).cached(*arguments, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (decorated(load_product), "cached load_product: its values have no ttl; write @cache.cached(ttl=30)"),
        (decorated(), "cached: its values have no ttl; give ttl=, for example ttl=30, or policy="),
        (decorated("30s"), "ttl='30s': must be seconds; for example ttl=30"),
        (decorated(timedelta(seconds=30)), "must be seconds; give its total_seconds()"),
        (decorated(30, policy=Policy(ttl=30)), "policy= takes the place of the times; put them into the policy"),
        (decorated(stale=1, policy=Policy(ttl=30)), "policy= takes the place of the times; put them into the policy"),
        (decorated(30, tags="ab"), "cached(tags=): one text is no list of tags: 'ab'; write ['ab']"),
    ],
)
def test_how_the_decorator_is_written(make: Callable[[], object], message: str) -> None:
    """Who writes the decorator without its time, or with one of another kind, is told how it is written."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        make()


ONE_TEXT = "one text is no list of tags: 'ab'; write ['ab']"


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda cache: cache.set("key", 1, ttl=60, tags="ab"), f"Cache.set(tags=): {ONE_TEXT}"),
        (lambda cache: cache.set("key", 1, ttl=60, tags=[7]), "Cache.set(tags=): 7 is no text; write texts such as"),
        (lambda cache: cache.set("key", 1, ttl="60"), "Cache.set ttl='60': must be seconds; for example ttl=30"),
        (lambda cache: cache.set("key", 1, ttl=1, stale=-1), "Cache.set stale=-1: must be from 0 to inf"),
        (lambda cache: cache.get_or_set("key", load, 60, tags="ab"), f"Cache.get_or_set(tags=): {ONE_TEXT}"),
        (lambda cache: cache.get_or_set("key", load, "60"), "ttl='60': must be seconds; for example ttl=30"),
        (lambda cache: cache.get_or_set("key", load), "get_or_set: its values have no ttl; give ttl="),
        (lambda cache: cache.get_or_set("key", load, stale=1, policy=Policy(ttl=1)), "policy= takes the place"),
        (lambda cache: cache.invalidate_tags(["a"]), "Cache.invalidate_tags: ['a'] is no text; write texts such as"),
    ],
)
def test_explicit_keys(
    use: Callable[[Any], Coroutine[Any, Any, object]], message: str, loop_factory: LoopFactory
) -> None:
    """One text in the place of a list of tags, and a time that is none, are refused."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        run(loop_factory, use(Cache()))


@pytest.mark.parametrize("tags", ["ab", ["a", 7], [b"a"]])
def test_tags_of_loaded(tags: Any) -> None:
    """So are they in what a loader returns."""
    with pytest.raises(ConfigurationError, match=r"Loaded\(tags=\)"):
        Loaded(value=1, tags=tags)


def test_a_policy_in_the_place_of_the_times(loop_factory: LoopFactory) -> None:
    """A function and an explicit key may have a whole policy."""
    policy = Policy(ttl=60.0, none_ttl=0.0, lease=60.0, early=0.0)

    async def nothing() -> int | None:
        calls.append("explicit")
        return None

    calls: list[str] = []

    async def scenario() -> None:
        cache = Cache()

        @cache.cached(policy=policy)
        async def find(number: int) -> int | None:
            calls.append("function")
            return None

        assert find.region.policy is policy
        for _ in range(2):
            assert await find(7) is None
            assert await cache.get_or_set("key", nothing, policy=policy) is None

    run(loop_factory, scenario())
    assert calls == ["function", "explicit"] * 2

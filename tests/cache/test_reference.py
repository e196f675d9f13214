"""docs/reference/cache.md says what is so: names, defaults, bounds, addresses, messages, and what Redis is asked."""

import ast
import dataclasses
import importlib
import inspect
import math
import re
import uuid
from collections.abc import Callable
from contextlib import aclosing
from inspect import Parameter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest
from redis.asyncio import Redis

import hasten.cache
import hasten.resilience
from hasten import ConfigurationError, HastenError
from hasten.cache import Cache, CacheStatistics, Counts, Loaded, Policy, Region, codec_for
from hasten.cache._memory import Memory
from hasten.cache.backplanes import MemoryBackplane
from tests.cache.running import run
from tests.conftest import LoopFactory

ROOT = Path(__file__).parents[2]
PAGE = ROOT.joinpath("docs/reference/cache.md").read_text()
WORDS = " ".join(PAGE.split())
CODE = re.compile(r"`([^`]+)`")


def table(heading: str, title: str) -> list[list[str]]:
    """Return the cells of the table under a heading whose first column has this title."""
    after = re.split(rf"^##+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^##+ ", after, flags=re.MULTILINE)[0]
    below = re.split(rf"^\| {re.escape(title)} \|.*\n[|-]+\n", section, flags=re.MULTILINE)[1]
    lines = re.match(r"(\|.*\n)+", below)
    assert lines is not None
    return [re.split(r"\s*\|\s*", line)[1:-1] for line in lines[0].splitlines()]


def names(heading: str, title: str) -> list[str]:
    """Return the names in the first column of a table, without `await` and arguments."""
    found = [code for row in table(heading, title) for code in CODE.findall(row[0])]
    return [code.removeprefix("await ").partition("(")[0] for code in found]


def signature(name: str, of: Callable[..., Any]) -> str:
    """Return a signature as the page writes it."""
    bare = []
    for parameter in inspect.signature(of).parameters.values():
        if parameter.name != "self":
            default = parameter.default
            default = _Source(default.__name__) if inspect.isbuiltin(default) else default
            bare.append(parameter.replace(annotation=Parameter.empty, default=default))
    return name + str(inspect.Signature(bare)).replace("'", '"')


class _Source:
    """A default whose repr is source."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def parameters(of: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(of).parameters if name != "self"]


# ---- names, parameters, defaults


def test_every_export_is_named() -> None:
    """The first table has what the package exports, and nothing else."""
    cells = re.findall(r"^\|([^|]+)\|", PAGE.split("\n## ")[0], re.MULTILINE)
    assert sorted(CODE.findall(" ".join(cells))) == sorted(hasten.cache.__all__)


@pytest.mark.parametrize(
    "function",
    [
        Cache,
        Cache.cached,
        Cache.region,
        Cache.get,
        Cache.set,
        Cache.get_or_set,
        Cache.invalidate,
        Cache.invalidate_tags,
        Cache.statistics,
        Cache.aclose,
        Loaded,
        Region.load,
        Region.get,
        Region.refresh,
        Region.store,
        Region.invalidate,
        Region.peek,
        codec_for,
    ],
    ids=lambda function: function.__qualname__,
)
def test_signatures(function: Callable[..., Any]) -> None:
    """Parameters, their order and their defaults are those of the code."""
    assert f"`{signature(function.__name__, function)}`" in WORDS.replace("`await ", "`")


@pytest.mark.parametrize(
    ("heading", "title", "function"),
    [
        ("Cache", "parameter", Cache),
        ("Cache.cached", "parameter", Cache.cached),
        ("Values", "parameter", codec_for),
        ("Policy", "field", Policy),
        ("Loaded", "field", Loaded),
        ("Statistics", "field", CacheStatistics),
    ],
)
def test_parameters(heading: str, title: str, function: Callable[..., Any]) -> None:
    """Each parameter and field is explained, in the order of the code."""
    assert names(heading, title) == [name for name in parameters(function) if name != "annotation"]


def test_counts() -> None:
    """Each count is explained."""
    after = PAGE.split("`Counts`, since the region was made:")[1].split("\n## ")[0]
    cells = re.findall(r"^\|([^|]+)\|", after, re.MULTILINE)
    assert CODE.findall(" ".join(cells)) == [field.name for field in dataclasses.fields(Counts)]


def test_members_of_the_cache() -> None:
    """Each public member of `Cache` is explained."""
    members = {name for name in vars(Cache) if not name.startswith("_")}
    assert sorted(names("Cache", "member")) == sorted(members)


def test_aclose_empties_the_memory(loop_factory: LoopFactory) -> None:
    """A cache of memory alone is empty after `aclose`, and can be used again."""

    async def scenario() -> None:
        cache = Cache()
        for value in (1, 2):
            assert await cache.get("key") is None
            await cache.set("key", value, ttl=60)
            assert await cache.get("key") == value
            await cache.aclose()

    run(loop_factory, scenario())


def test_members_of_a_region() -> None:
    """Each member of a region that is explained is there."""
    region: Region[Any] = Cache().region("documented", Policy(ttl=1.0))
    assert [name for name in names("Region", "member") if not hasattr(region, name)] == []


def test_attributes_of_a_cached_function() -> None:
    """Each attribute that is explained is there, and callable where it takes arguments."""

    @Cache().cached(ttl=1.0)
    async def function(number: int) -> int:
        return number

    for name in names("Cache.cached", "attribute"):
        assert name == "region" or callable(getattr(function, name))


def test_policy_defaults() -> None:
    """The defaults are the code's."""
    defaults = {field.name: field.default for field in dataclasses.fields(Policy)}
    for name, default, *_ in table("Policy", "field"):
        expected = defaults[name.strip("`")]
        assert default == ("required" if expected is dataclasses.MISSING else str(expected))


def test_policy_bounds() -> None:
    """A value at a bound is taken, one beyond it is refused."""
    for cell, _, bounds, _ in table("Policy", "field"):
        name = cell.strip("`")
        if not bounds:
            continue
        low, high = map(float, bounds.split(" to "))
        others = {"ttl": 1.0} | ({"stale_if_error": 60.0} if name == "soft_timeout" else {})
        Policy(**(others | {name: low}))
        Policy(**(others | {name: high}))
        for beyond in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
            if math.isfinite(beyond):
                with pytest.raises(ConfigurationError):
                    Policy(**(others | {name: beyond}))


# ---- addresses


def test_options_of_memory() -> None:
    """The options of the first tier are those that it takes, with its defaults; below their bounds they are refused."""
    for cell, default, bounds, _ in table("First tier", "option"):
        name, least = cell.strip("`"), int(bounds.removeprefix("at least "))
        assert default == str(inspect.signature(Memory).parameters[name].default).lower()
        Cache(f"memory://?{name}={least}")
        with pytest.raises(ConfigurationError):
            Cache(f"memory://?{name}={least - 1}")
    with pytest.raises(ConfigurationError) as refused:
        Cache("memory://?other=1")
    assert refused.value.remedy == f"it has {' and '.join(names('First tier', 'option'))}"


def test_addresses_of_second_tiers() -> None:
    """Each address is taken, and each scheme that there is has one."""
    addresses = [cell.strip("`") for cell, *_ in table("Second tier", "URL")]
    for address in addresses:
        assert Cache("memory://", address).has_second
    with pytest.raises(ConfigurationError) as refused:
        Cache("memory://", "other://")
    schemes = {f"{urlsplit(address).scheme}://" for address in addresses}
    assert set(refused.value.remedy.removeprefix("there are ").split(", ")) == schemes


def test_classes_behind_the_addresses() -> None:
    """Each is where the page says, with its parameters."""
    for cell, _ in table("Second tier", "name"):
        path = cell.strip("`").partition("(")[0]
        module, _, name = path.rpartition(".")
        assert cell == f"`{signature(path, getattr(importlib.import_module(module), name))}`"
    for verb in ("hold", "cut_off", "restore"):
        assert hasattr(MemoryBackplane, verb)


# ---- what is raised and said


def test_errors() -> None:
    """Each error exists where the page says, and is a HastenError."""
    for cell, _ in table("Errors", "error"):
        name, *where = CODE.findall(cell)
        error = getattr(importlib.import_module(where[0] if where else "hasten.cache"), name)
        assert issubclass(error, HastenError)


def test_messages() -> None:
    """Each message of the log is on the page, and each of the page is in the code."""
    formats = set()
    for file in ROOT.joinpath("src/hasten/cache").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_logger."):
                texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                formats.add(str(texts[0]).replace("%d", "%s"))
    documented = {re.sub(r"\b[A-Z]{4,}\b", "%s", cell.strip("`")) for cell, _ in table("Log", "message")}
    assert documented == formats


# ---- what Redis holds and is asked


def test_redis_is_asked_nothing_else(loop_factory: LoopFactory, redis_url: str) -> None:
    """A user of Redis's who may do no more than the page says is enough, and no key has another form."""
    namespace = f"shop{uuid.uuid4().hex[:8]}"
    allowed = CODE.findall(PAGE.split("For an ACL: ")[1].split("\n\n")[0])[0].replace("shop", namespace)

    async def scenario() -> None:
        server: Any = Redis.from_url(redis_url)
        await server.execute_command("ACL", "SETUSER", namespace, "on", ">secret", *allowed.split())
        try:
            await use(_as_user(redis_url, namespace), namespace)
            keys = [key.decode() async for key in server.scan_iter(f"*{namespace}*")]
        finally:
            await server.execute_command("ACL", "DELUSER", namespace)
            await server.aclose()
        assert keys
        forms = [_form(cell, namespace) for cell, *_ in table("What it holds", "key")]
        assert [key for key in keys if not any(form.fullmatch(key) for form in forms)] == []

    run(loop_factory, scenario())


async def use(address: str, namespace: str) -> None:
    """Have a second tier do everything it can."""
    # The timeout: on a busy machine what is late would look like what is refused.
    ours, theirs = (Cache("memory://", address, namespace=namespace, on_error="raise", timeout=5.0) for _ in range(2))

    async def load() -> int:
        return 1

    async def fail() -> int:
        raise LookupError

    async with aclosing(ours), aclosing(theirs):
        for cache in (ours, theirs):
            assert await cache.get_or_set("loaded", load, ttl=60, tags=["one", "two"]) == 1
            with pytest.raises(LookupError):
                await cache.get_or_set("failed", fail, ttl=60)
        assert await ours.set("set", 1, ttl=60)
        assert await theirs.get("set") == 1
        assert await theirs.invalidate_tags("one")
        assert await theirs.invalidate("set")
        assert await ours.get("set") is None
        assert await ours.get_or_set("loaded", load, ttl=60, tags=["one", "two"]) == 1
    for cache in (ours, theirs):
        assert cache.statistics().second_failures == 0


def _as_user(url: str, user: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:secret@{parts.netloc.rpartition('@')[2]}"))


def _form(cell: str, namespace: str) -> re.Pattern[str]:
    key = re.escape(CODE.findall(cell)[0].replace("shop", namespace))
    return re.compile(re.sub(r"\b(KEY|TAG)\b", ".+", key))


def test_hook_records(loop_factory: LoopFactory) -> None:
    """A hook's record has the fields that the page names, with the values that it names."""
    records: list[Any] = []

    async def load() -> int:
        return 1

    async def scenario() -> None:
        cache = Cache(hooks=[records.append])
        await cache.get_or_set("key", load, ttl=1.0)

    run(loop_factory, scenario())
    words = CODE.findall(PAGE.split("\n## Hooks\n")[1].split("\n## ")[0])
    assert set(msgspec.structs.asdict(records[0])) <= set(words)
    assert records[0].source == "loader"

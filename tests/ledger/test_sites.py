"""Sites are read from chains of awaits of every kind, and interned."""

import asyncio
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hasten
from hasten.ledger import Site
from hasten.ledger._records import RequestRecord
from hasten.ledger._sites import OWN, START, YIELDED, SiteTable

if TYPE_CHECKING:
    from types import CodeType


def suspended(make: Callable[[], Any]) -> Site:
    """Run a coroutine to its first suspension and return the site of it."""
    table = SiteTable()
    coroutine = make()
    awaited = coroutine.send(None)
    task = RequestRecord(0.0).add_task(coroutine, 0.0)
    site = table.sites[table.suspended(task, awaited)]
    coroutine.close()
    return site


class Pending:
    """Suspends once."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield self


async def innermost() -> None:
    await asyncio.sleep(1e9)


async def outermost() -> None:
    await innermost()


def test_the_innermost_user_line_and_the_library_below_it() -> None:
    """The site names the innermost function of the user's and the library function it called."""

    async def main() -> Site:
        return suspended(outermost)

    site = asyncio.run(main())
    assert (site.function, site.library, site.leaf) == ("innermost", "asyncio.sleep", "asyncio.sleep")
    assert site.file == __file__
    assert site.line == innermost.__code__.co_firstlineno + 1


def test_an_asynchronous_generator_is_looked_through() -> None:
    """`async for` hides its generator behind an object of C; the line inside the generator is found."""

    async def numbers() -> Any:
        await asyncio.sleep(1e9)
        yield 1

    async def consumer() -> None:
        async for _ in numbers():
            pass

    async def main() -> Site:
        return suspended(consumer)

    assert asyncio.run(main()).function.endswith("numbers")


class Foreign:
    """A coroutine of another kind, as Cython's: duck-typed `cr_code` and `cr_await`."""

    def __init__(self, inner: Any) -> None:
        self.cr_await = inner
        self.cr_code: CodeType = asyncio.sleep.__code__
        self._started = False

    def __await__(self) -> "Foreign":
        return self

    def __iter__(self) -> "Foreign":
        return self

    def __next__(self) -> Any:
        return self


def test_a_foreign_coroutine_is_a_link_of_the_chain() -> None:
    """What looks like a coroutine is one: the chain goes on through it."""

    async def caller() -> None:
        await Foreign(None)  # type: ignore[misc]

    site = suspended(caller)
    assert site.function.endswith("caller")
    assert site.library == "asyncio.sleep"


def made(folder: str, source: str, **names: Any) -> Any:
    """Return the function `work` of a module that says it stands in `folder`."""
    exec(compile(source, f"{folder}/made.py", "exec"), names)
    return names["work"]


OURS = str(Path(hasten.__file__).parent)
FOREIGN = "/venv/lib/site-packages/tenacity"
through = made(OURS, "async def work(inner):\n    return await inner\n")
method = made(OURS, "async def work(self, inner):\n    return await inner\n")
foreign = made(FOREIGN, "async def work(inner):\n    return await inner\n")


class Asked(asyncio.Future[None]):
    """What a cache asks of its second tier."""

    wait_name = "cache GET redis localhost:6379"
    wait_identity = "product:7"


async def caller(inner: Any) -> None:
    await inner


NAMED: dict[str, Callable[[], Any]] = {
    "the method's object": lambda: method(Asked(), asyncio.Future()),
    "deep in our code": lambda: through(through(through(through(through(method(Asked(), asyncio.Future())))))),
    "below objects without a name": lambda: method(object(), method(Asked(), asyncio.Future())),
    "above Python's own": lambda: method(Asked(), asyncio.sleep(1e9)),
    "above another library": lambda: through(method(Asked(), foreign(asyncio.Future()))),
    "below another library": lambda: foreign(through(method(Asked(), asyncio.Future()))),
    "what is awaited": lambda: through(Asked()),
}


@pytest.mark.parametrize("where", NAMED)
def test_an_object_of_ours_that_has_a_name_names_the_wait(where: str) -> None:
    """It is found wherever it stands between the user's line and what the task is suspended on."""

    async def main() -> None:
        table = SiteTable()
        coroutine = caller(NAMED[where]())
        awaited = coroutine.send(None)
        task = RequestRecord(0.0).add_task(coroutine, 0.0)
        index = table.suspended(task, awaited)
        identity = table.identity(task.called, awaited)
        coroutine.close()
        assert table.sites[index].function == "caller"
        assert table.sites[index].library == Asked.wait_name
        assert index in table.cache_waits
        assert identity == ("" if where == "below another library" else Asked.wait_identity)

    asyncio.run(main())


def test_what_a_call_of_ours_leads_to_is_named_by_the_library() -> None:
    """A wait of another library's below our code is that library's; of Python's own, ours."""

    async def main() -> tuple[Site, Site]:
        return (
            suspended(lambda: caller(through(foreign(asyncio.Future())))),
            suspended(lambda: caller(through(asyncio.sleep(1e9)))),
        )

    foreigns, own = asyncio.run(main())
    assert foreigns.library == "tenacity.work"
    assert own.library == "hasten.work"


def test_giving_way_has_a_site_of_its_own() -> None:
    """A bare yield is no wait."""
    table = SiteTable()
    task = RequestRecord(0.0).add_task(None, 0.0)

    assert table.suspended(task, None) == YIELDED
    assert table.sites[START].leaf == "start"


def test_the_same_place_is_one_site() -> None:
    """Sites are interned: a loop over one line makes one."""

    async def caller() -> None:
        for _ in range(3):
            await Pending()

    table = SiteTable()
    coroutine = caller()
    task = RequestRecord(0.0).add_task(coroutine, 0.0)
    indexes = {table.suspended(task, coroutine.send(None)) for _ in range(3)}
    coroutine.close()
    assert len(indexes) == 1


def test_calls_differ_by_their_simple_arguments() -> None:
    """Text, numbers, and lists and mappings of them make an identity; objects and flags do not."""

    async def get(client: object, url: str, params: dict[str, int] | None = None, *, flag: bool = False) -> None:
        await Pending()

    table = SiteTable()

    def identity(*arguments: Any) -> str:
        coroutine = get(object(), *arguments)
        coroutine.send(None)
        text = table.identity(coroutine)
        coroutine.close()
        return text

    assert identity("/a") == "'/a'"
    assert identity("/a", {"page": 1}) != identity("/a", {"page": 2})
    assert identity("/a" * 1000) == identity("/a" * 1000)
    assert len(identity("/a" * 1000)) <= 256


def test_functions_handed_to_threads_are_unwrapped() -> None:
    """A bound method, a decorated function and a built-in each have a site."""
    table = SiteTable()

    assert table.sites[table.function(Pending().__await__)].function == "Pending.__await__"
    assert table.sites[table.function(len)].library == "builtins.len"
    assert table.own(OWN) == OWN

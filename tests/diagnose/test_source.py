"""Syntax trees with meaning: qualified names, what names stand for and hold, what calls what."""

import ast
import inspect
import types
from pathlib import Path

import pytest

from hasten.diagnose._calls import executed, reached
from hasten.diagnose._roles import is_cached, is_startup, per_request, route_of, words
from hasten.diagnose._source import Module, Project

EXAMPLE = """
import a.b
import a.c as short
from lib import thing as renamed

def outer(argument: "a.b.T", *rest):
    def inner():
        return lambda: argument
    class Local:
        def method(self): ...
    return [inner for _ in rest]

class Shop:
    kept = a.b.C()
    class Counter:
        async def add(self): ...
    def __init__(self, client):
        self.client = renamed.Client()
        self.store: short.Store | None = None
    @property
    def twice(self):
        return self.client
    def use(self):
        self.client.get()
        self.store.put()
        self.twice.post()
        self.kept.go()
        self.nothing.at()

async def top(): ...
"""


def module(text: str, folder: Path, name: str = "app.py", project: Project | None = None) -> Module:
    """Return a parsed file with this text."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return Module.parse(file, project)


def callees(parsed: Module, function: str) -> list[str]:
    """Return the dotted names that a function calls, in order."""
    found = parsed.named_functions[function]
    return [call.callee.removeprefix(parsed.key + ".") for call in found.calls]


def qualified_names(code: types.CodeType) -> set[str]:
    """Return the qualified names of all functions below a code object, as the interpreter gives them."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    is_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
    names = {code.co_qualname} if is_function else set()
    return names.union(*(qualified_names(each) for each in inner))


def test_qualified_names_are_the_interpreters(tmp_path: Path) -> None:
    """Functions, methods and lambdas have the names that code objects, and so accounts, have."""
    parsed = module(EXAMPLE, tmp_path)
    real = {name for name in qualified_names(compile(EXAMPLE, "app", "exec")) if not name.endswith("comp>")}
    assert {function.qualname for function in parsed.functions} == real


def test_function_at_gives_the_innermost(tmp_path: Path) -> None:
    """A line belongs to the innermost function around it, or to the module."""
    parsed = module(EXAMPLE, tmp_path)
    lines = EXAMPLE.splitlines()
    assert parsed.function_at(lines.index("    def inner():") + 1) == "outer.<locals>.inner"
    assert parsed.function_at(lines.index("        self.client.get()") + 1) == "Shop.use"
    assert parsed.function_at(lines.index("    kept = a.b.C()") + 1) == "<module>"


def test_attributes_of_self_have_the_types_they_are_given(tmp_path: Path) -> None:
    """Assignments, annotations, class attributes and properties tell what `self.x` is."""
    parsed = module(EXAMPLE, tmp_path)
    assert callees(parsed, "Shop.use") == [
        "lib.thing.Client.get",
        "a.c.Store.put",
        "lib.thing.Client.post",
        "a.b.C.go",
        "Shop.nothing.at",
    ]


@pytest.mark.parametrize(
    ("text", "callee"),
    [
        ("import requests\ndef f(): requests.get()", "requests.get"),
        ("import requests as r\ndef f(): r.api.get()", "requests.get"),
        ("from requests import get\ndef f(): get()", "requests.get"),
        ("import requests\nget = requests.get\ndef f(): get()", "requests.get"),
        ("def f():\n    import requests\n    requests.get()", "requests.get"),
        ("import requests\ndef f(requests): requests.get()", ""),
        ("import requests\ndef f():\n    for requests in (): requests.get()", ""),
        ("import requests\ndef f():\n    [requests.get() for requests in ()]", ""),
        ("from redis import Redis\ndef f(r: Redis): r.get()", "redis.Redis.get"),
        ("from redis import Redis\ndef f(r: 'Redis[str] | None'): r.get()", "redis.Redis.get"),
        ("from redis.client import StrictRedis\ndef f(r: StrictRedis): r.get()", "redis.Redis.get"),
        (
            "from typing import Optional\nfrom redis import Redis\ndef f(r: Optional[Redis]): r.get()",
            "redis.Redis.get",
        ),
        ("import sqlite3\nc = sqlite3.connect('a')\ndef f(): c.execute()", "sqlite3.Connection.execute"),
        (
            "import sqlite3\ndef f():\n    with sqlite3.connect('a') as c: c.commit()",
            "sqlite3.Connection.commit",
        ),
        (
            "import httpx\nasync def f():\n    async with httpx.AsyncClient() as c: c.get()",
            "httpx.AsyncClient.get",
        ),
        ("import httpx\ndef f(c=None):\n    c = c or httpx.Client()\n    c.get()", "httpx.Client.get"),
        (
            "import httpx, redis\ndef f(a):\n    c = httpx.Client() if a else redis.Redis()\n    c.get()",
            "",
        ),
        ("import httpx\ndef f():\n    if (c := httpx.Client()): c.get()", "httpx.Client.get"),
        ("import httpx\ndef f():\n    a, c = 1, httpx.Client()\n    c.get()", "httpx.Client.get"),
        ("import httpx\nclass C(httpx.AsyncClient): ...\ndef f(c: C): c.get()", "httpx.AsyncClient.get"),
        ("import httpx\ndef g() -> httpx.Client: ...\ndef f(): g().get()", "httpx.Client.get"),
        ("import httpx\ndef g(): return httpx.Client()\ndef f(): g().get()", "httpx.Client.get"),
        ("from pathlib import Path\ndef f(): (Path('a') / 'b').parent.open()", "pathlib.Path.open"),
        (
            "import httpx\ndef f():\n    global c\n    c = httpx.Client()\ndef g(): c.get()",
            "httpx.Client.get",
        ),
        ("a = b\nb = a\ndef f(): a.get()", ""),
        ("def a(): return b()\ndef b(): return a()\ndef f(): a().get()", ""),
        ("def f(): open('a')", "open"),
    ],
)
def test_a_call_is_named(text: str, callee: str, tmp_path: Path) -> None:
    """The last call of the last function has this dotted name."""
    parsed = module(text, tmp_path)
    last = max(parsed.functions[-1].calls, key=lambda call: (call.node.lineno, call.node.end_col_offset or 0))
    assert last.callee == callee


def test_calls_lead_into_other_files(tmp_path: Path) -> None:
    """Relative, absolute and renamed imports lead to the same function; libraries of the same name do not."""
    project = Project()
    package = tmp_path / "shop"
    module("", package, "__init__.py", project)
    stores = module("def load(): ...\ndef redis(): ...", package, "stores/__init__.py", project)
    module("", package, "stores/redis.py", project)
    script = module("def load(): ...", tmp_path / "scripts", "helper.py", project)
    text = (
        "import redis\nimport shop.stores\nfrom . import stores\nfrom .stores import load as first\n"
        "from shop.stores import load\n"
        "def f():\n    first()\n    load()\n    stores.load()\n    shop.stores.load()\n    redis.from_url()\n"
    )
    parsed = module(text, package, "api.py", project)
    load = stores.named_functions["load"]
    assert [call.target for call in parsed.functions[0].calls] == [load, load, load, load, None]
    assert parsed.functions[0].calls[-1].callee == "redis.from_url"
    alone = module("from helper import load\ndef f(): load()", tmp_path / "scripts", "run.py", project)
    assert [call.target for call in alone.functions[0].calls] == [script.named_functions["load"]]


def test_a_module_added_later_is_seen(tmp_path: Path) -> None:
    """What was worked out about names is forgotten when a file joins the project."""
    project = Project()
    text = "from other import client\nasync def f(): await client.get()"
    early = module(text, tmp_path, "app.py", project)
    assert early.scope.type_of(ast.Name("client", ast.Load())) == ""
    module("import httpx\nclient = httpx.AsyncClient()", tmp_path, "other.py", project)
    assert early.scope.type_of(ast.Name("client", ast.Load())) == "httpx.AsyncClient"


def test_application_state_has_the_type_it_was_given(tmp_path: Path) -> None:
    """`app.state.client = X()` in one file is what `request.app.state.client` is in another."""
    project = Project()
    module("import httpx\ndef start(app): app.state.client = httpx.AsyncClient()", tmp_path, "a.py", project)
    parsed = module("def f(request): request.app.state.client.get()", tmp_path, "b.py", project)
    assert callees(parsed, "f") == ["httpx.AsyncClient.get"]


CHAIN = """
def a(): b()
def b(): c()
def c(): d(); a()
def d(): e()
def e(): ...
"""


def test_calls_are_followed_three_deep_and_once(tmp_path: Path) -> None:
    """Helpers are followed to a bounded depth; functions that call each other end."""
    parsed = module(CHAIN, tmp_path)
    first = parsed.named_functions["a"]
    names = [call.callee.rpartition(".")[2] for call in executed(first, lambda _: True)]
    assert names == ["b", "c", "d", "a", "e"]
    short = [call.callee.rpartition(".")[2] for call in executed(first, lambda _: True, depth=1)]
    assert short == ["b", "c"]
    assert [name for _, name in reached(first.nodes, first)] == ["b", "c", "d", "a", "e"]


ROLES = """
from contextlib import asynccontextmanager
from functools import lru_cache
from fastapi import APIRouter, Depends, FastAPI
import asyncio

@asynccontextmanager
async def around(app): yield
app = FastAPI(lifespan=around)
router = APIRouter()
@app.get("/")
def route(user=Depends(lambda: 1)): helper()
@router.api_route("/x")
async def other_route(value=Depends(needed)): await inner()
@client.get("/x")
def no_route(): ...
def needed(): ...
def helper(): deeper()
def deeper(): ...
async def inner(): ...
async def main(): await from_main()
async def from_main(): ...
async def run_once(): ...
asyncio.run(run_once())
def unused(): ...
@lru_cache(maxsize=1)
def settings(): ...
@app.on_event("startup")
async def begin(): ...
"""


def test_roles(tmp_path: Path) -> None:
    """Routes, dependencies and what they call run per request; what only start-up code calls does not."""
    parsed = module(ROLES, tmp_path)
    functions = parsed.named_functions
    assert {name for name, function in functions.items() if per_request(function)} == {
        "route", "other_route", "needed", "helper", "deeper", "inner",
    }  # fmt: skip
    assert {name for name, function in functions.items() if route_of(function)} == {"route", "other_route"}
    assert {name for name, function in functions.items() if is_startup(function)} == {
        "around",
        "main",
        "begin",
    }
    assert {name for name, function in functions.items() if is_cached(function)} == {"settings"}


def test_words() -> None:
    """Snake case and camel case have the same words."""
    assert words("get_product") == words("GetProduct") == {"get", "product"}
    assert words("HTTPClient2") == {"http", "client", "2"}


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"def f(:", SyntaxError), (b"a = 1\0", (ValueError, SyntaxError)), (b"# coding: nope\n", SyntaxError)],
)
def test_what_is_no_python_is_an_error(content: bytes, error: type[Exception], tmp_path: Path) -> None:
    """A file that the interpreter would not take is not taken."""
    file = tmp_path / "app.py"
    file.write_bytes(content)
    with pytest.raises(error):
        Module.parse(file)


def test_a_declared_encoding_is_respected(tmp_path: Path) -> None:
    """A Latin-1 file parses, and its comments can still be searched."""
    file = tmp_path / "app.py"
    file.write_bytes("# coding: latin-1\nname = 'é'  # noqa\n".encode("latin-1"))
    parsed = Module.parse(file)
    assert ast.literal_eval(parsed.tree.body[0].value) == "é"  # type: ignore[attr-defined]
    assert "# noqa" in parsed.source

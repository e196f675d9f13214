"""Whatever routes an app has, slo.toml and plan.toml of them are read by hasten itself."""

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasten.init._app import App
from hasten.init._objectives import objectives, requests
from hasten.init._routes import Route, routes_of
from hasten.load import Plan
from hasten.monitor.slo import parse_slo

PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=200).map(lambda text: f"/{text}")
ROUTES = st.builds(
    Route,
    path=PATHS,
    methods=st.lists(st.sampled_from(["DELETE", "GET", "HEAD", "POST"]), max_size=2).map(tuple),
    known=st.booleans(),
    bare=st.booleans(),
)


@given(st.lists(ROUTES, max_size=30))
def test_whatever_the_routes_the_objectives_are_valid(routes: list[Route]) -> None:
    """slo.toml is read without an error: names are the only ones of their kind, and no path is too long."""
    read = parse_slo(objectives("shop", routes).encode(), "slo.toml")
    assert [one.name for one in read.objectives[:2]] == ["answered", "fast"]
    assert {one.route for one in read.objectives} <= {"", *(route.path for route in routes if route.known)}


def route(path: str, *methods: str, bare: bool = True) -> Route:
    """Return a route of the app's own."""
    return Route(path, methods, known=True, bare=bare)


@pytest.mark.parametrize(
    ("routes", "paths"),
    [
        ([], ["/openapi.json"]),
        ([route("/a", "GET"), route("/a", "GET"), route("/healthz", "GET")], ["/a"]),
        (
            [route("/a/{b}", "GET", bare=False), Route("/openapi.json", ("GET",), known=False, bare=False)],
            ["/openapi.json"],
        ),
    ],
)
def test_a_plan_asks_what_can_be_asked(tmp_path: Path, routes: list[Route], paths: list[str]) -> None:
    """Each bare route once, health aside; where there is none, FastAPI's own document."""
    (tmp_path / "plan.toml").write_text('rate = 1.0\nduration = "1s"\n\n' + requests(routes))
    plan = Plan.from_file(tmp_path / "plan.toml", target="http://127.0.0.1")
    assert [kind.path for kind in plan.requests] == paths


def test_an_app_that_can_be_asked_nothing_has_no_plan() -> None:
    """Without a bare route and without FastAPI's document there is nothing to send."""
    assert requests([route("/a/{b}", "GET", bare=False)]) == ""


def seen(root: Path, source: str) -> tuple[list[tuple[str, bool]], str]:
    """Return the app's own routes with whether they are bare, and why none are seen."""
    (root / "main.py").write_text(textwrap.dedent(source))
    found = routes_of(root, App(target="main:app", file="main.py"))
    return [(route.path, route.bare) for route in found.routes if route.known], found.problem


def test_routes_are_seen_through_noise(tmp_path: Path) -> None:
    """An app that prints when it is imported, and starts a thread that never ends, is seen all the same."""
    source = """
        import threading
        from fastapi import Depends, FastAPI, Query
        from fastapi.security import HTTPBearer

        print("[]")
        threading.Thread(target=threading.Event().wait).start()
        app = FastAPI()

        @app.get("/bare")
        async def bare(page: int = 1): ...

        @app.get("/needs")
        async def needs(words: str = Query()): ...

        @app.get("/secret", dependencies=[Depends(HTTPBearer())])
        async def secret(): ...

        @app.get("/items/{item}")
        async def item(item: int): ...

        @app.get("/hidden", include_in_schema=False)
        async def hidden(): ...
    """
    assert seen(tmp_path, source) == (
        [("/bare", True), ("/needs", False), ("/secret", False), ("/items/{item}", False)],
        "",
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("app = 7", "'app' is an int, no ASGI app"),
        ("import os; os._exit(4)", "exit 4"),
    ],
)
def test_why_no_routes_are_seen(tmp_path: Path, source: str, problem: str) -> None:
    """What is in the way of importing an app is one line."""
    routes, why = seen(tmp_path, source)
    assert routes == []
    assert problem in why
    assert "\n" not in why

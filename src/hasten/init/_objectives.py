"""slo.toml and plan.toml of an app: what it promises for its routes, and what is sent to measure that."""

import json
import re
from collections.abc import Iterable, Iterator

from hasten.init._routes import Route
from hasten.monitor.slo._file import LONGEST_VALUE

_MOST_ROUTES = 20
_LONGEST_NAME = 64
_ALWAYS = "/openapi.json"  # that FastAPI has in every app by default
_HEALTH = frozenset({"/health", "/healthz", "/livez", "/readyz", "/metrics", "/ping"})


def objectives(service: str, routes: Iterable[Route]) -> str:
    """Return the [[objective]] tables: all requests together, and each route of the app's own.

    Args:
      routes: None where they are not known.
    """
    parts = [
        _objective(service, "answered", "99.9%"),
        _objective(service, "fast", "99%", latency="500ms"),
    ]
    names = {"answered", "fast"}
    for route, method in _promised(routes):
        name = _named(f"{method}-{route.path}", names)
        names.add(name)
        parts.append(_objective(service, name, "99%", latency="250ms", route=route.path, method=method))
    return "\n".join(parts)


def requests(routes: Iterable[Route]) -> str:
    """Return the [[request]] tables: GET for each route that can be asked as it stands; empty where there is none.

    Args:
      routes: None where they are not known: FastAPI's own document is asked for then.
    """
    routes = tuple(routes)
    bare = dict.fromkeys(route.path for route in routes if route.bare and route.path not in _HEALTH)
    paths = list(bare)[:_MOST_ROUTES]
    if not paths and (not routes or any(route.path == _ALWAYS for route in routes)):
        paths = [_ALWAYS]
    asked = [
        f"[[request]]\nname = {_quoted(f'GET {path}')}\npath = {_quoted(path)}\nexpect = [200]\n" for path in paths
    ]
    return "\n".join(asked)


def _objective(service: str, name: str, target: str, **keys: str) -> str:
    lines = {"service": service, "name": name, "target": target, **keys}
    return "[[objective]]\n" + "".join(f"{key} = {_quoted(value)}\n" for key, value in lines.items())


def _promised(routes: Iterable[Route]) -> Iterator[tuple[Route, str]]:
    """Yield the routes that get an objective, each with the method that it is about."""
    wanted = [(route, method) for route in routes if route.known for method in route.methods[:1]]
    seen: set[str] = set()
    for route, method in wanted:
        fits = route.path not in _HEALTH and len(route.path) <= LONGEST_VALUE and len(seen) < _MOST_ROUTES
        if fits and f"{method} {route.path}" not in seen:
            seen.add(f"{method} {route.path}")
            yield route, method


def _named(text: str, taken: set[str]) -> str:
    """Return a text as the name of an objective, another one than those that are taken."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    number = 1
    made = name
    while made in taken:
        number += 1
        tail = f"-{number}"
        made = name[: _LONGEST_NAME - len(tail)].strip("-") + tail
    return made


def _quoted(text: str) -> str:
    """Return a text as TOML has it, which JSON's form is, too."""
    return json.dumps(text, ensure_ascii=False)

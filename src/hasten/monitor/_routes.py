"""The routes of an app: their templates are a metric's labels, never the paths that were asked for."""

from collections.abc import Iterator
from typing import Any

import msgspec

from hasten._core.routes import route_taken


class Route(msgspec.Struct, frozen=True):
    """A route of an app.

    Attributes:
      path: Its template from the app's root: `/products/{product_id}`.
      methods: In capitals; empty for what answers all, a mounted app for example.
    """

    path: str
    methods: tuple[str, ...]


def routes_of(app: Any) -> tuple[Route, ...]:
    """Return the routes of a Starlette or FastAPI app with those of the apps mounted into it; none of any other."""
    return tuple(_routes(app, ""))


def _routes(app: Any, prefix: str) -> Iterator[Route]:
    for route in _each(app):
        path = prefix + (getattr(route, "path", "") or "")
        if getattr(route, "routes", None):
            yield from _routes(route, path)
        elif hasattr(route, "path"):
            yield Route(path, tuple(sorted(getattr(route, "methods", None) or ())))


def _each(app: Any) -> Iterator[Any]:
    """Return the routes of an app or a mount, those of routers that FastAPI includes with the paths of there."""
    for route in getattr(app, "routes", None) or ():
        if hasattr(route, "effective_route_contexts"):
            for context in route.effective_route_contexts():
                yield context.starlette_route or context
        else:
            yield route


def template_for(app: Any, method: str, path: str) -> str:
    """Return the template of the route that would take a request; empty where none would.

    For requests that somebody has answered in front of the routing: a response cache.
    """
    for route in _each(app):
        regex = getattr(route, "path_regex", None)
        found = None if regex is None else regex.match(path)
        if found is None:
            continue
        if hasattr(route, "routes"):
            return str(route.path) + (template_for(route, method, f"/{found.group('path')}") if route.routes else "")
        if method in (getattr(route, "methods", None) or (method,)):
            return str(route.path)
    return ""


def template(app: Any, scope: Any) -> str:
    """Return the template of the route that a request has taken, from the root; empty where none matched.

    Args:
      app: The outermost app.
      scope: After the routing.
    """
    route = route_taken(scope)
    if route is None:
        return str(scope.get("path_template", ""))  # Litestar's
    if hasattr(route, "routes"):  # a mount: of files, or of an app none of whose routes has taken it
        return "" if route.routes else _mounts(app, _inner_root(scope))
    path = str(getattr(route, "path", ""))
    root = _inner_root(scope)
    return _mounts(app, root) + path if root else path


def _inner_root(scope: Any) -> str:
    """Return the path that mounts have taken, the ones of the server and proxies in front of it aside."""
    root = str(scope.get("root_path", ""))
    return root.removeprefix(str(scope.get("app_root_path", root)))


def _mounts(app: Any, root: str) -> str:
    """Return the templates of the mounts that have taken `root`."""
    for mount in _each(app):
        regex = getattr(mount, "path_regex", None)
        if regex is None or not hasattr(mount, "routes"):
            continue
        found = regex.match(root + "/")
        if found is not None:
            inner = root[: len(root) + 1 - len(found.group("path")) - 1]
            return str(mount.path) + (_mounts(mount, root[len(inner) :]) if len(inner) < len(root) else "")
    return ""

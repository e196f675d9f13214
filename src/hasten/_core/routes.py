"""Which route of its app a request has taken, by what frameworks leave in the ASGI scope."""

from typing import Any

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
"""HTTP's methods; a client may send any other word in their place, which must name nothing."""
OTHER_METHOD = "_other"
WHOLE = "hasten.whole"
"""Key of the scope under which a layer around the app, which looks at what is sent, says how to answer at once: the
`send` that it has handed on, the server's request with its `send_whole`, and the status of the answer, which whoever
answers so writes there. Where `send` is another one by then, somebody else looks at messages, too."""


def route_taken(scope: Any) -> Any:
    """Return what has the template of the route that a request has taken as its `path`; None where none matched.

    Starlette leaves the route. FastAPI leaves it, too, but the path of an included router's route has no prefixes of
    its inclusion any more (where routers are included when they are used): the context beside it has. Behind a mount
    in such a router the route is the mounted app's, and the context is of the mount.
    """
    route = scope.get("route")
    fastapi = scope.get("fastapi")
    if fastapi is not None:
        context = fastapi.get("effective_route_context")
        if context is not None and (route is None or route is context.original_route):
            return context
    return route

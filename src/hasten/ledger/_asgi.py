"""The outermost layer of an ASGI app: tells the ledger which request it is and when its response is complete."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from hasten.ledger._drive import drive
from hasten.ledger._records import REQUEST, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hasten.ledger._ledger import AttachedLoop, Ledger


class LedgerLayer:
    """An ASGI app that calls `app`; a plain function on the way, so that unsampled requests pay no extra coroutine."""

    def __init__(self, app: "Callable[..., Awaitable[None]]", ledger: "Ledger") -> None:
        self.app = app
        self.ledger = ledger

    def __call__(self, scope: Any, receive: Any, send: Any) -> "Awaitable[None]":
        """Run the app for one connection; websockets are left alone."""
        request = REQUEST.get()
        if request is None and self.ledger.knows_roots and scope["type"] == "http":
            return self.app(scope, receive, send)  # the usual case, an unrecorded request, pays 0.2 µs
        return self._attend(request, scope, receive, send)

    def _attend(self, request: RequestRecord | None, scope: Any, receive: Any, send: Any) -> "Awaitable[None]":
        kind = scope["type"]
        if kind == "websocket" or not self.ledger.on:
            return self.app(scope, receive, send)
        attached = self.ledger.attach(asyncio.get_running_loop())
        if kind != "http":
            return self._lifespan(scope, receive, send)
        if request is not None and not request.closed and request.scope is None:
            request.scope = scope
            return self.app(scope, receive, _completing(request, send))
        if attached is None or attached.factory.knows_roots or not attached.factory.sample():
            return self.app(scope, receive, send)
        return self._record(attached, scope, receive, send)

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            self.ledger.detach(asyncio.get_running_loop())

    async def _record(self, attached: "AttachedLoop", scope: Any, receive: Any, send: Any) -> None:
        """Record a request of a server whose tasks the factory does not know: from here on, not from its arrival."""
        request = RequestRecord(monotonic())
        request.scope = scope
        token = REQUEST.set(request)
        try:
            coroutine = self.app(scope, receive, _completing(request, send))
            await drive(coroutine, request.add_task(coroutine, request.started), request, attached.state, self.ledger)
        finally:
            REQUEST.reset(token)


class LedgerApp:
    """A whole app with the ledger's layer; `async`, since servers tell ASGI 3 from 2 by that (uvicorn's `auto`)."""

    def __init__(self, app: "Callable[..., Awaitable[None]]", ledger: "Ledger") -> None:
        self.app = app
        self.ledger = ledger
        self._layer = LedgerLayer(app, ledger)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app for one connection."""
        await self._layer(scope, receive, send)


def _completing(request: RequestRecord, send: Any) -> Any:
    """Return a `send` that notes the status and the moment at which the last byte was handed over."""

    async def completing(message: Any) -> None:
        await send(message)
        kind = message["type"]
        if kind == "http.response.start":
            request.status = message["status"]
        elif kind == "http.response.body" and not message.get("more_body", False):
            request.complete(monotonic())

    return completing

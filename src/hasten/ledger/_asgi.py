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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attached: AttachedLoop | None = None

    def __call__(self, scope: Any, receive: Any, send: Any) -> "Awaitable[None]":
        """Run the app for one connection; websockets are left alone."""
        kind = scope["type"]
        if kind == "websocket" or not self.ledger.on:
            return self.app(scope, receive, send)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self.ledger.attach(loop)
            self._loop, self._attached = loop, self.ledger.loop(loop)
        if kind != "http":
            return self._lifespan(scope, receive, send)
        request = REQUEST.get()
        if request is not None and not request.closed and request.scope is None:
            request.scope = scope
            return self.app(scope, receive, _completing(request, send))
        attached = self._attached
        if attached is None or attached.factory.knows_roots or not attached.factory.sample():
            return self.app(scope, receive, send)
        return self._record(attached, scope, receive, send)

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            self.ledger.detach(asyncio.get_running_loop())
            self._loop = self._attached = None

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

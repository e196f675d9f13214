"""The outermost layer of an ASGI app: tells the ledger which request it is and when its response is complete."""

import asyncio
import inspect
import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from hasten.ledger._drive import drive
from hasten.ledger._records import REQUEST, RequestRecord
from hasten.ledger._work import MOST_OFTEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hasten.ledger._ledger import AttachedLoop, Ledger

    AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


def ledger_layer(app: "AsgiApp", ledger: "Ledger") -> "AsgiApp":
    """Return an ASGI app that calls `app`.

    A plain function on the way, so that unrecorded requests pay no extra coroutine, and a closure, since calling an
    object with `__call__` leaves the interpreter's loop: an unrecorded request pays 0.5 µs.
    """
    recording = REQUEST.get
    edge = _Edge(app, ledger)

    def layer(scope: Any, receive: Any, send: Any) -> "Awaitable[None]":
        request = recording()
        if request is None and ledger.knows_roots and scope["type"] == "http":
            return app(scope, receive, send)
        return edge.attend(request, scope, receive, send)

    return layer


def recording_layer(app: "AsgiApp", ledger: "Ledger") -> "AsgiApp":
    """Return an ASGI app that calls `app` and records each request from there on, ten a second at most.

    One that is recorded already goes on so. Whoever calls it has found out that the request is to be recorded.
    """
    return _Edge(app, ledger).record


class _Edge:
    """What the layer does with all but unrecorded requests."""

    def __init__(self, app: "AsgiApp", ledger: "Ledger") -> None:
        self._app = app
        self._ledger = ledger
        self._last_asked = -math.inf

    async def record(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app for a request that is to be recorded."""
        attached = self._ledger.attach(asyncio.get_running_loop()) if self._ledger.on else None
        inherited = REQUEST.get()
        now = monotonic()
        if attached is None or (inherited is not None and not inherited.closed) or now - self._last_asked < MOST_OFTEN:
            await self._app(scope, receive, send)
            return
        self._last_asked = now
        await self._record(attached, scope, receive, send)

    def attend(self, request: RequestRecord | None, scope: Any, receive: Any, send: Any) -> "Awaitable[None]":
        """Run the app for one connection; websockets are left alone."""
        kind = scope["type"]
        if kind == "websocket" or not self._ledger.on:
            return self._app(scope, receive, send)
        if kind == "http" and request is not None and not request.closed and request.scope is None:
            request.scope = scope
            return self._app(scope, receive, _completing(request, send))
        attached = self._ledger.attach(asyncio.get_running_loop())
        if kind != "http":
            return self._lifespan(attached, scope, receive, send)
        if attached is None or attached.factory.knows_roots or not attached.factory.sample():
            return self._app(scope, receive, send)
        return self._record(attached, scope, receive, send)

    async def _lifespan(self, attached: "AttachedLoop | None", scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        if attached is not None:
            attached.lasting = True
        try:
            await self._app(scope, receive, send)
        finally:
            self._ledger.detach(loop)

    async def _record(self, attached: "AttachedLoop", scope: Any, receive: Any, send: Any) -> None:
        """Record a request of a server whose tasks the factory does not know: from here on, not from its arrival."""
        state = attached.factory.state
        request = state.begin(monotonic())
        request.scope = scope
        token = REQUEST.set(request)
        try:
            coroutine: Any = self._app(scope, receive, _completing(request, send))
            if not inspect.iscoroutine(coroutine):
                coroutine = _awaiting(coroutine)
            await drive(coroutine, request.add_task(coroutine, request.started), request, state, state.keeper)
        finally:
            REQUEST.reset(token)


async def _awaiting(awaitable: "Awaitable[None]") -> None:
    await awaitable


class LedgerApp:
    """A whole app with the ledger's layer; `async`, since servers tell ASGI 3 from 2 by that (uvicorn's `auto`)."""

    def __init__(self, app: "AsgiApp", ledger: "Ledger") -> None:
        self.app = app
        self.ledger = ledger
        self._layer = ledger_layer(app, ledger)

    @property
    def monitor(self) -> Any:
        """The monitor of the app within, if `hasten.install` has put one there."""
        return getattr(self.app, "monitor", None)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app for one connection."""
        await self._layer(scope, receive, send)


def _completing(request: RequestRecord, send: Any) -> Any:
    """Return a `send` that notes the status and the moment at which the last byte was handed over.

    A coroutine of its own for the last message alone: each costs 0.25 µs.
    """

    def completing(message: Any) -> "Awaitable[None]":
        kind = message["type"]
        if kind == "http.response.body" and not message.get("more_body", False):
            return _complete(request, send(message))
        if kind == "http.response.start":
            request.status = message["status"]
        sent: Awaitable[None] = send(message)
        return sent

    return completing


async def _complete(request: RequestRecord, sent: "Awaitable[None]") -> None:
    await sent
    request.complete(monotonic())

"""`install(app)`: the one line that puts the ledger into an app."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from hasten._core.signals import LedgerHook
from hasten.ledger._asgi import LedgerApp, ledger_layer
from hasten.ledger._ledger import Ledger, Listener

App = TypeVar("App")


def install(
    app: App,
    *,
    service: str = "",
    sample_every: int = 20,
    detail: bool = False,
    listeners: Iterable[Listener] = (),
    hooks: Iterable[LedgerHook] = (),
) -> App:
    """Put a ledger into an ASGI app and return the app to serve.

    FastAPI and Starlette apps are changed in place, outside all their middleware, and returned; any other ASGI app is
    wrapped. Works under uvicorn, gunicorn's uvicorn worker, granian and test clients; nothing runs before the server
    calls the app. The ledger is at `app.state.ledger` (Starlette) or the wrapper's `ledger`. An app that has one
    already keeps it: the last call's settings hold, and its listeners are added (so `hasten doctor` can record an app
    that calls `install` itself).

    Args:
      app: The ASGI 3 app.
      service: Name of the service in its accounts; empty for none.
      sample_every: One request in this many is recorded, at random, ten a second at most; 1 records every request.
      detail: Record library calls with their arguments and sample every step (`hasten doctor`'s mode).
      listeners: Called with each `Account` on the loop's thread; must be quick.
      hooks: Called with each `LedgerSignal`: a hold of the loop, a garbage collection, the steps of a recorded request.
    """
    installed = ledger_of(app)
    if installed is not None:
        installed.configure(service, sample_every=sample_every, detail=detail, listeners=listeners)
        installed.hooks.extend(hooks)
        return app
    ledger = Ledger(service, sample_every=sample_every, detail=detail, listeners=listeners, hooks=hooks)
    starlette: Any = sys.modules.get("starlette.applications")
    if starlette is not None and isinstance(app, starlette.Starlette):
        _install_starlette(app, ledger)
        return app
    layer: Any = LedgerApp(app, ledger)  # type: ignore[arg-type]
    return layer  # type: ignore[no-any-return]


def _install_starlette(app: Any, ledger: Ledger) -> None:
    """Wrap the middleware stack when Starlette builds it, at the first call."""
    build = app.build_middleware_stack

    def build_with_ledger() -> Any:
        return ledger_layer(build(), ledger)

    app.build_middleware_stack = build_with_ledger
    if app.middleware_stack is not None:
        app.middleware_stack = ledger_layer(app.middleware_stack, ledger)
    app.state.ledger = ledger


def ledger_of(app: Any) -> Ledger | None:
    """Return the ledger that an earlier call has put into `app`."""
    ledger = getattr(getattr(app, "state", None), "ledger", None) or getattr(app, "ledger", None)
    return ledger if isinstance(ledger, Ledger) else None

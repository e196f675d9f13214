"""Tells the caller how long the answer took: plain ASGI, no task and no queue per request."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ResponseTime:
    """Adds `x-response-time-ms` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or pass anything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def send_timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                elapsed = (time.perf_counter() - started) * 1000
                message["headers"] = [*message["headers"], (b"x-response-time-ms", b"%.1f" % elapsed)]
            await send(message)

        await self._app(scope, receive, send_timed)

"""A port with a thread of its own, from its start to its end: what one process's and that of all workers have alike."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hasten.admin._server import AdminThread


class ServedPort:
    """Answers on a bound socket, in a thread of its own, until it is closed.

    Attributes:
      url: Where; empty while it is closed.
    """

    def __init__(self) -> None:
        self.url = ""
        self._thread: AdminThread | None = None

    def serve(
        self,
        app: Callable[[Any, Any, Any], Awaitable[None]],
        listener: socket.socket,
        background: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Answer by an app on a socket that listens; `background` runs beside it."""
        from hasten.admin._server import AdminThread  # uvicorn takes 0.1 s to import, and `import hasten` should not

        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._thread = AdminThread(app, listener, background=background)
        self._thread.start()

    async def aclose(self) -> None:
        """Answer no more; again if it is closed already. Cancellation: the thread ends by itself."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Answer no more, from a thread that may wait for it."""
        thread, self._thread, self.url = self._thread, None, ""
        if thread is not None:
            thread.stop()

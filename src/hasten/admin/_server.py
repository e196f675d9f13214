"""The thread of the admin port: an event loop of its own, so that it answers while the app's loop does not.

uvicorn's protocol runs on it without uvicorn's server, which wakes ten times a second and takes as long to stop.
While pure Python holds the app's loop, each wake here waits 5 ms for the interpreter's lock (`sys.getswitchinterval`);
while C code holds the lock, a regular expression for example, no thread can answer.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
_LAST_WORDS = 0.5  # seconds that answers under way have at the end


class AdminThread:
    """Serves an ASGI app on a socket, in a thread of its own.

    Args:
      app: Answers; its loop is this thread's.
      listener: Listens already; closed at the end.
      background: Runs beside it in the same loop, and is cancelled at the end.
    """

    def __init__(
        self, app: AsgiApp, listener: socket.socket, background: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._app = app
        self._listener = listener
        self._background = background
        self._loop = _new_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="hasten-admin", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Let answers under way end, for half a second; wait until the thread has ended."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        config = uvicorn.Config(
            self._app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        config.load()
        state = ServerState()
        protocol: Any = config.http_protocol_class

        def connection() -> asyncio.Protocol:
            made: asyncio.Protocol = protocol(config=config, server_state=state, app_state={})
            return made

        loop = asyncio.get_running_loop()
        beside = None if self._background is None else loop.create_task(_awaited(self._background))
        server = await loop.create_server(connection, sock=self._listener)
        try:
            await self._stopped.wait()
        finally:
            server.close()
            if beside is not None:
                beside.cancel()
            await _leave(state)


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _leave(state: ServerState) -> None:
    """End connections: idle ones now, those that answer when they have, or are late."""
    for connection in list(state.connections):
        connection.shutdown()
    tasks = list(state.tasks)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_LAST_WORDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # not to be had on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()

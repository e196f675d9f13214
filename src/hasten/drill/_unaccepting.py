"""A port at which connections are not made: no answer at all, as of a host that has gone."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from hasten.drill._drill import Impossible

_HOST = "127.0.0.1"
_MOST = 64  # connections that fill a backlog: Linux takes one more than it is told, others some more
_HANGS = 0.05  # seconds: on this machine a connection is made in less
_FREE = 100  # looks, one each pass of the loop and 1 ms, until the port is free


@asynccontextmanager
async def unaccepting(port: int) -> AsyncIterator[None]:
    """Listen on a port, and let no connection be made while the block runs.

    Nobody accepts, and the backlog is full: the kernel drops what comes, without a word.

    Raises:
      Impossible: the port is in use, or this system makes connections all the same.
    """
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        await _bind(listener, port)
        listener.listen(0)
        await _fill(port, opened)
        yield


async def _bind(listener: socket.socket, port: int) -> None:
    """Take the port as soon as who had it has left it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for _ in range(_FREE):
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            await asyncio.sleep(0.001)
        else:
            return
    raise Impossible(f"port {port} is in use")


async def _fill(port: int, opened: ExitStack) -> None:
    """Make connections until one is not made."""
    loop = asyncio.get_running_loop()
    for _ in range(_MOST):
        one = opened.enter_context(socket.socket())
        one.setblocking(False)  # noqa: FBT003 - its only parameter
        try:
            async with asyncio.timeout(_HANGS):
                await loop.sock_connect(one, (_HOST, port))
        except TimeoutError:
            return
    raise Impossible("this system makes connections that nobody accepts, however many")

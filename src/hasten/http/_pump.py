"""Sending a streamed response to its client while it is captured, at the client's own pace."""

import asyncio

from hasten.http._asgi import Message, Send


class Pump:
    """Sends messages in their order, in a task of its own: who reads slowly keeps nobody else from the response.

    What waits to be sent is captured anyway, so it is bounded by what is captured at most.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def feed(self, message: Message) -> None:
        """Send a message after those before it."""
        self._messages.put_nowait(message)

    async def finish(self) -> None:
        """Wait until everything is sent.

        Raises:
          OSError: what the server raises when the client is gone.
        Cancellation: the rest is not sent.
        """
        self._messages.put_nowait(None)
        await self._task

    async def stop(self) -> None:
        """Send nothing any more."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # nobody is there to be told

    async def _run(self) -> None:
        while (message := await self._messages.get()) is not None:
            await self._send(message)

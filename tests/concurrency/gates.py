"""What functions in threads wait at, so that tests can say when they go on."""

import asyncio
import threading


class Gate:
    """Closed until it is opened; a task can wait until a thread stands before it. Made on the loop of that task."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()

    def pass_through(self) -> None:
        """In a thread: wait until the gate is open."""
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._opened.wait(30)

    def open(self) -> None:
        """Let all through, from now on."""
        self._opened.set()

    async def reached(self) -> None:
        """Wait until a thread stands before it."""
        await self._reached.wait()


async def begun(*gates: Gate) -> None:
    """Wait until a thread stands before each of the gates."""
    for gate in gates:
        await gate.reached()

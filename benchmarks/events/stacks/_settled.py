"""Acknowledgements by hand, as few as will do: of all messages up to the oldest that is not handled."""

import asyncio
from collections.abc import Awaitable, Callable


class Settled:
    """Tells the broker what is handled, once in a pass of the loop.

    Args:
      acknowledge: Tells that all messages up to a delivery tag are; tags begin with 1 and have no gaps.
    """

    def __init__(self, acknowledge: Callable[[int], object]) -> None:
        self._acknowledge = acknowledge
        self._call_soon = asyncio.get_running_loop().call_soon
        self._told = 0
        self._handled: set[int] = set()
        self._is_due = False

    def add(self, tag: int) -> None:
        """Note that a message is handled."""
        self._handled.add(tag)
        if not self._is_due:
            self._is_due = True
            self._call_soon(self._tell)

    def _tell(self) -> None:
        self._is_due = False
        handled, tag = self._handled, self._told
        while tag + 1 in handled:
            tag += 1
            handled.remove(tag)
        if tag > self._told:
            self._told = tag
            self._acknowledge(tag)


def telling(acknowledge: Callable[[int], Awaitable[None]]) -> Callable[[int], None]:
    """Return a plain function that has an asynchronous one run."""
    tasks: set[asyncio.Future[None]] = set()

    def tell(tag: int) -> None:
        task = asyncio.ensure_future(acknowledge(tag))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return tell

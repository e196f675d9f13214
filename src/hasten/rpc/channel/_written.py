"""Requests that a user writes to an intercepted call, as the iterator that interceptors get."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

_FINISHED = "RPC already finished."
_HALF_CLOSED = 'RPC is half closed after calling "done_writing".'


class WrittenRequests(AsyncIterator[Any]):
    """Hands over requests one by one, from `write` to whoever iterates.

    A write ends when its request is taken: the server's window slows the writer down here too, one request later. The
    iterator may be left and taken up again: what it has not given out stays.
    """

    def __init__(self) -> None:
        self._offers: dict[asyncio.Future[None], Any] = {}
        self._takers: list[asyncio.Future[None]] = []
        self._ended = False
        self._closed = False

    async def write(self, request: Any) -> None:
        """Offer a request, and wait until it is taken.

        Raises:
          InvalidStateError: the call is over, or `end` was called.
        Cancellation: the request is withdrawn, unless it was taken.
        """
        if self._closed or self._ended:
            raise asyncio.InvalidStateError(_FINISHED if self._closed else _HALF_CLOSED)
        taken = asyncio.get_running_loop().create_future()
        self._offers[taken] = request
        self._wake_takers()
        try:
            await taken
        finally:
            self._offers.pop(taken, None)

    def end(self) -> None:
        """Let the iterator end after what was offered."""
        self._ended = True
        self._wake_takers()

    def close(self) -> None:
        """Refuse all requests: the call is over."""
        self._closed = True
        offers, self._offers = self._offers, {}
        for taken in offers:
            if not taken.done():
                taken.set_exception(asyncio.InvalidStateError(_FINISHED))
        self._wake_takers()

    async def __anext__(self) -> Any:
        while True:
            for taken, request in self._offers.items():
                if not taken.done():  # a writer that was cancelled has not come to take its request back yet
                    taken.set_result(None)
                    del self._offers[taken]
                    return request
            if self._ended or self._closed:
                raise StopAsyncIteration
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            await taker

    def _wake_takers(self) -> None:
        takers, self._takers = self._takers, []
        for taker in takers:
            if not taker.done():
                taker.set_result(None)

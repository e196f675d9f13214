"""Keepalive PINGs (gRFC A8): who has gone without a word is found out."""

import asyncio
from collections.abc import Callable

from hasten.rpc._limits import Limits
from hasten.rpc.wire._frames import PING, frame

_PING = frame(PING, 0, 0, bytes(8))


class Keepalive:
    """Sends a PING when nothing came for a while; gives the connection up when nothing comes then either.

    Nothing is counted for it on the hot path but the reads of the connection.

    Args:
      send: Sends a frame at once.
      is_used: Whether calls are open.
      give_up: Cuts the connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        send: Callable[[bytes], None],
        is_used: Callable[[], bool],
        give_up: Callable[[], None],
    ) -> None:
        self.reads = 0
        self._loop = loop
        self._seconds = limits.keepalive_seconds
        self._timeout = limits.keepalive_timeout_seconds
        self._always = limits.keepalive_without_calls
        self._send = send
        self._is_used = is_used
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None
        self._awaits_answer = False

    def start(self) -> None:
        """Begin to listen, if `Limits.keepalive_seconds` says so."""
        self._awaits_answer = False
        if self._seconds:
            self._timer = self._loop.call_later(self._seconds, self._listen, self.reads)

    def _listen(self, reads: int) -> None:
        if reads != self.reads or not (self._always or self._is_used()):
            self._timer = self._loop.call_later(self._seconds, self._listen, self.reads)
        else:
            self._send(_PING)
            self._awaits_answer = True
            self._timer = self._loop.call_later(self._timeout, self._judge, self.reads)

    def answered(self) -> None:
        """Note that a PING was answered: from now on it is silent again."""
        if self._awaits_answer:
            self.close()
            self.start()

    def _judge(self, reads: int) -> None:
        if reads == self.reads:
            self._give_up()
        else:
            self.start()

    def close(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()

"""One direction of a connection that passes through a proxy."""

import asyncio
from collections.abc import Iterator
from time import monotonic
from typing import Protocol

from hasten.testing._faults import NO_FAULTS, Direction, Faults

PIECE_BYTES = 65536
_MOST_KEPT = 64  # pieces


class Weather(Protocol):
    """What a pipe asks of its proxy."""

    faults: Faults
    passed_bytes: int

    def chance(self) -> float:
        """Return a number from 0 to 1, 1 left out."""

    async def change(self) -> None:
        """Wait until there are other faults."""


class Pipe:
    """Reads pieces, gives each the time at which it is due, and writes it then: latency takes no throughput."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: Weather, direction: Direction
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._weather = weather
        self._direction: Direction = direction
        self._pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_KEPT)

    async def run(self) -> None:
        """Pass on what comes until its end, which is passed on, too.

        Raises:
          OSError: either side has cut the connection.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    def end(self) -> None:
        """Tell the receiver that no more comes (FIN): half of the connection is closed."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    def _faults(self) -> Faults:
        faults = self._weather.faults
        return faults if faults.hit(self._direction) else NO_FAULTS

    async def _read(self) -> None:
        due, piece = 0.0, b"?"
        while piece:
            piece = await self._reader.read(PIECE_BYTES)
            faults = self._faults()
            due = max(due, monotonic() + faults.latency + faults.jitter * self._weather.chance())
            await self._pieces.put((due, piece))

    async def _write(self) -> None:
        while True:
            due, piece = await self._pieces.get()
            await asyncio.sleep(max(0.0, due - monotonic()))
            while self._faults().stopped:
                await self._weather.change()
            if self._faults().swallowed:
                continue  # the end, too: who is behind a network that has gone never hears of it
            if not piece:
                self.end()
                return
            for part in self._parts(piece):
                await self._pass(part)

    def _parts(self, piece: bytes) -> Iterator[bytes]:
        size = self._faults().slice_bytes or len(piece)
        return (piece[at : at + size] for at in range(0, len(piece), size))

    async def _pass(self, part: bytes) -> None:
        rate = self._faults().rate
        if len(part) / rate > 0.0:
            await asyncio.sleep(len(part) / rate)
        self._writer.write(part)
        await self._writer.drain()
        self._weather.passed_bytes += len(part)

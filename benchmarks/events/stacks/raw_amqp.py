"""The limit: AMQP 0-9-1 as bytes over asyncio.Protocol, a task for each message.

No headers, ids, deadlines or reconnection: this is what carrying, encoding and handling the messages costs. All but the
frames of every message are pamqp's.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, cast

from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.header import ProtocolHeader

from benchmarks.events._stack import SILENCE_SECONDS
from benchmarks.events._work import IN_FLIGHT, Handle, OrderPaid, Publish, decode, encode
from benchmarks.events.stacks._settled import Settled

_CHANNEL = 1
_QUEUE = "raw"
_HEAD = struct.Struct(">BHI")
_TAG = struct.Struct(">Q")
_CONTENT = struct.Struct(">BHIHHQH")
_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER, _CONFIRM = b"\0\x3c\0\x3c", b"\0\x3c\0\x50"
_PROPERTIES = b"\x10application/json\x02"  # content type, persistent
_FLAGS = 0x9000
_PUBLISH = frame.marshal(commands.Basic.Publish(routing_key=_QUEUE, mandatory=True), _CHANNEL)
_ACK = frame.marshal(commands.Basic.Ack(delivery_tag=0, multiple=True), _CHANNEL)[:11]
_ACK_END = b"\1\xce"


@asynccontextmanager
async def connected(address: str, handle: Handle) -> AsyncIterator[Publish]:
    """Yield what publishes over one connection, with another one for consuming."""
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    (_, publishing), (_, consuming) = [
        await loop.create_connection(lambda: _Connection(handle), host, int(port)) for _ in range(2)
    ]
    for connection in (publishing, consuming):
        await connection.open()
    await publishing.ask(commands.Queue.Declare(queue=_QUEUE, durable=True, arguments={"x-queue-type": "quorum"}))
    await publishing.ask(commands.Confirm.Select())
    await consuming.ask(commands.Basic.Qos(prefetch_count=IN_FLIGHT))
    await consuming.ask(commands.Basic.Consume(queue=_QUEUE))
    yield publishing.publish
    for connection in (publishing, consuming):
        await connection.ask(commands.Connection.Close(reply_code=200), channel=0)


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._settled = Settled(self._acknowledge)
        self._rest = b""
        self._tag = 0
        self._sent = 0
        self._confirmed = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer: asyncio.Future[Frame] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc or ConnectionResetError("the broker closed the connection")
        waiting: list[asyncio.Future[Any]] = [*self._unconfirmed.values(), self._answer]
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    # ---- methods

    async def open(self) -> None:
        """Say who we are, and open the channel."""
        self.transport.write(ProtocolHeader().marshal())
        await self._next()
        tune = await self.ask(commands.Connection.StartOk(response="\0guest\0guest"), channel=0)
        assert isinstance(tune, commands.Connection.Tune)
        tuned = commands.Connection.TuneOk(tune.channel_max or 0, tune.frame_max or 0, SILENCE_SECONDS)
        self.transport.write(frame.marshal(tuned, 0))
        await self.ask(commands.Connection.Open(), channel=0)
        await self.ask(commands.Channel.Open())

    async def ask(self, method: Frame, channel: int = _CHANNEL) -> Frame:
        """Send a method, and return the answer."""
        self.transport.write(frame.marshal(method, channel))
        return await self._next()

    async def _next(self) -> Frame:
        self._answer = self._loop.create_future()
        return await self._answer

    # ---- messages

    def publish(self, order: OrderPaid) -> Awaitable[None]:
        """Publish an order; the answer is the broker's."""
        body = encode(order)
        self._sent = number = self._sent + 1
        self._unconfirmed[number] = future = self._loop.create_future()
        content = _CONTENT.pack(_HEADER, _CHANNEL, 14 + len(_PROPERTIES), 60, 0, len(body), _FLAGS)
        head = _HEAD.pack(_BODY, _CHANNEL, len(body))
        self.transport.write(b"".join((_PUBLISH, content, _PROPERTIES, b"\xce", head, body, b"\xce")))
        return future

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at = 0
        while len(data) - at >= _HEAD.size:
            kind, _, size = _HEAD.unpack_from(data, at)
            begin = at + _HEAD.size
            end = begin + size
            if end >= len(data):
                break
            self._take(kind, data, at, begin, end)
            at = end + 1
        self._rest = data[at:]

    def _take(self, kind: int, data: bytes, at: int, begin: int, end: int) -> None:
        if kind == _BODY:
            task = self._loop.create_task(self._settle(self._tag, decode(data[begin:end])))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif kind == _METHOD:
            method = data[begin : begin + 4]
            if method == _DELIVER:
                self._tag = _TAG.unpack_from(data, begin + 5 + data[begin + 4])[0]
            elif method == _CONFIRM:
                self._confirm(_TAG.unpack_from(data, begin + 4)[0], multiple=bool(data[begin + 12]))
            else:
                answer = frame.unmarshal(data[at : end + 1])[2]
                self._answer.set_result(cast("Frame", answer))

    def _confirm(self, number: int, *, multiple: bool) -> None:
        for confirmed in range(self._confirmed + 1, number + 1) if multiple else (number,):
            future = self._unconfirmed.pop(confirmed, None)
            if future is not None:
                future.set_result(None)
        if multiple:
            self._confirmed = number

    async def _settle(self, tag: int, order: OrderPaid) -> None:
        await self._handle(order)
        self._settled.add(tag)

    def _acknowledge(self, tag: int) -> None:
        self.transport.write(_ACK + _TAG.pack(tag) + _ACK_END)

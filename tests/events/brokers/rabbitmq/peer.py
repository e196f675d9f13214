"""A server of AMQP 0-9-1 that says what a test wants, made with pamqp: not the implementation that is tested."""

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pamqp import body, commands, frame, header, heartbeat

from hasten.events import Envelope
from hasten.events.brokers.rabbitmq import RabbitBroker, rabbit_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Heard = tuple[int, Any]
"""A channel, and what was said on it."""


class Session:
    """One connection of a client.

    Attributes:
      said: What the client has said that the peer does not answer by itself.
      mute: Hears nothing any more, and says nothing: a black hole.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: "Peer") -> None:
        self.said: asyncio.Queue[Heard] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.mute = False
        self._reader = reader
        self._writer = writer
        self._peer = peer

    async def run(self) -> None:
        """Speak with the client until it goes."""
        assert await self._reader.readexactly(8) == b"AMQP\0\0\x09\x01"
        self.say(0, self._peer.start)
        data = b""
        while more := await self._reader.read(65536):
            if self.mute:
                continue
            data += more
            while data and (parsed := self._parse(data)) is not None:
                size, channel, said = parsed
                data = data[size:]
                self._hear(channel, said)
        self.closed.set()

    @staticmethod
    def _parse(data: bytes) -> tuple[int, int, Any] | None:
        if len(data) < 8 or len(data) < 8 + int.from_bytes(data[3:7], "big"):
            return None
        size, channel, said = frame.unmarshal(data)
        return size, channel, said

    def _hear(self, channel: int, said: Any) -> None:
        if (answer := self._peer.answers.get(type(said))) is not None:
            for each in answer(said):
                self.say(channel, each)
        else:
            self.said.put_nowait((channel, said))

    def say(self, channel: int, *said: Any) -> None:
        """Send frames."""
        for each in said:
            self.write(frame.marshal(each, channel))

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        if not self.mute:
            self._writer.write(data)

    async def next(self, wanted: type[Any]) -> Any:
        """Return the next of a type that the client says."""
        async with asyncio.timeout(10.0):
            while True:
                _, said = await self.said.get()
                if isinstance(said, wanted):
                    return said

    async def published(self) -> tuple[commands.Basic.Publish, header.ContentHeader, bytes]:
        """Return the next message that the client publishes, whose body has one frame."""
        method = await self.next(commands.Basic.Publish)
        properties = await self.next(header.ContentHeader)
        content = await self.next(body.ContentBody)
        return method, properties, content.value

    def hang_up(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()


class Peer:
    """The server.

    Attributes:
      start: How it greets.
      answers: What it says to a method by itself; a test may take some out, or put in others.
      sessions: The clients' connections, as they come.
    """

    def __init__(self) -> None:
        self.start: Any = commands.Connection.Start(server_properties={"product": "peer"})
        self.tune = commands.Connection.Tune(2047, 131072, 60)
        self.answers: dict[type[Any], Callable[[Any], list[Any]]] = {
            commands.Connection.StartOk: lambda _: [self.tune],
            commands.Connection.TuneOk: lambda _: [],
            commands.Connection.Open: lambda _: [commands.Connection.OpenOk()],
            commands.Connection.Close: lambda _: [commands.Connection.CloseOk()],
            commands.Connection.CloseOk: lambda _: [],
            commands.Channel.Open: lambda _: [commands.Channel.OpenOk()],
            commands.Channel.Close: lambda _: [commands.Channel.CloseOk()],
            commands.Channel.CloseOk: lambda _: [],
            commands.Exchange.Declare: lambda _: [commands.Exchange.DeclareOk()],
            commands.Queue.Declare: lambda said: [commands.Queue.DeclareOk(said.queue, 0, 0)],
            commands.Queue.Bind: lambda _: [commands.Queue.BindOk()],
            commands.Confirm.Select: lambda _: [commands.Confirm.SelectOk()],
            commands.Basic.Qos: lambda _: [commands.Basic.QosOk()],
            commands.Basic.Consume: lambda said: [commands.Basic.ConsumeOk(said.consumer_tag)],
            commands.Basic.Cancel: lambda said: [commands.Basic.CancelOk(said.consumer_tag)],
            heartbeat.Heartbeat: lambda _: [],
        }
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.port = 0
        self._all: list[Session] = []

    @asynccontextmanager
    async def listening(self) -> "AsyncIterator[Peer]":
        """Serve for a block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for session in self._all:
                session.hang_up()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer, self)
        self._all.append(session)
        self.sessions.put_nowait(session)
        try:
            await session.run()
        except OSError:
            pass
        finally:
            session.closed.set()
            writer.close()

    async def session(self) -> Session:
        """Return the next connection."""
        async with asyncio.timeout(10.0):
            return await self.sessions.get()

    def broker(self, options: str = "") -> RabbitBroker:
        """Return a broker that is this peer, not started."""
        return rabbit_broker(f"amqp://mia:secret@127.0.0.1:{self.port}/{options}")


def message(number: int = 1, **fields: Any) -> Envelope:
    """Return an envelope."""
    return Envelope(
        **{"topic": "orders.paid", "body": b"{}", "content_type": "application/json", "id": f"id-{number}", **fields}
    )

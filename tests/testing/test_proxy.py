"""Each fault of the proxy is what it says, for connections that are open and for new ones, and ends when it is told."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasten._core.errors import ConfigurationError
from hasten.testing import FaultProxy, Faults
from tests.conftest import LoopFactory

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Scenario = Callable[["Echo", FaultProxy], Awaitable[None]]


class Echo:
    """A server that sends back what it gets.

    Attributes:
      got: Of all connections, piece by piece as it was read.
      ended: How each connection has ended: `end`, or the error's name.
    """

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.ended: list[str] = []
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1 << 20):
                self.got.append(piece)
                writer.write(piece)
                await writer.drain()
            self.ended.append("end")
        except OSError as error:
            self.ended.append(type(error).__name__)
        finally:
            self.over.set()
            writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Echo, FaultProxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy(f"127.0.0.1:{port}") as proxy:
        yield echo, proxy
    server.close()


def run(scenario: Scenario, loop_factory: LoopFactory | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), echoing() as (echo, proxy):
            await scenario(echo, proxy)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Ends]:
    host, _, port = proxy.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(ends: Ends, text: bytes = b"hello") -> bytes:
    reader, writer = ends
    writer.write(text)
    return await reader.readexactly(len(text))


async def silent(ends: Ends) -> bool:
    """Tell whether nothing comes for a while."""
    try:
        async with asyncio.timeout(0.05):
            await ends[0].read(1)
    except TimeoutError:
        return True
    return False


def test_without_faults(loop_factory: LoopFactory) -> None:
    """All passes, both ways, and so does the end."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            assert await ask(ends) == b"hello"
            ends[1].write_eof()
            assert await ends[0].read() == b""
        assert (proxy.connections, proxy.passed_bytes, echo.ended) == (1, 10, ["end"])

    run(scenario, loop_factory)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=10),
    st.builds(Faults, latency=st.floats(0.0, 0.002), jitter=st.floats(0.0, 0.002), slice_bytes=st.integers(0, 100)),
)
def test_nothing_is_lost_or_put_out_of_order(pieces: list[bytes], faults: Faults) -> None:
    """Whatever the latency, the jitter and the slices."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        await proxy.inject(faults)
        async with connected(proxy) as ends:
            ends[1].writelines(pieces)
            whole = b"".join(pieces)
            assert await ends[0].readexactly(len(whole)) == whole
        assert b"".join(echo.got) == whole

    run(scenario)


def test_latency_of_one_direction() -> None:
    """The answer is late by so much, at least; of an open connection, and no more once that ends."""

    async def scenario(_: Echo, proxy: FaultProxy) -> None:
        clock = asyncio.get_running_loop().time
        async with connected(proxy) as ends:
            await ask(ends)
            await proxy.inject(Faults(latency=0.05, direction="down"))
            began = clock()
            await ask(ends)
            assert clock() - began >= 0.049
            await proxy.inject()
            assert await ask(ends) == b"hello"

    run(scenario)


def test_latency_takes_no_throughput() -> None:
    """A hundred pieces that are sent at once are late by one latency, not by a hundred."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        await proxy.inject(Faults(latency=0.1, direction="up"))
        async with connected(proxy) as ends:
            for _ in range(100):
                ends[1].write(b"piece")
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                assert len(await ends[0].readexactly(500)) == 500

    run(scenario)


def test_slices() -> None:
    """What was sent at once is read piece by piece."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        await proxy.inject(Faults(slice_bytes=2, rate=10_000, direction="up"))
        async with connected(proxy) as ends:
            await ask(ends, b"0123456789")
        assert echo.got == [b"01", b"23", b"45", b"67", b"89"]

    run(scenario)


def test_a_server_that_stands_still() -> None:
    """It is connected to, keeps what it is sent, and goes on with it afterwards."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        async with connected(proxy) as before:
            await ask(before)
            await proxy.inject(Faults(stopped=True))
            before[1].write(b"more")
            assert await silent(before)
            async with connected(proxy) as new:
                new[1].write(b"new")
                assert await silent(new)
                await proxy.inject()
                assert await before[0].readexactly(4) == b"more"
                assert await new[0].readexactly(3) == b"new"

    run(scenario)


def test_a_network_that_has_gone() -> None:
    """What is sent is lost, the end too; what is sent once it is back comes."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        async with connected(proxy) as ends, connected(proxy) as other:
            await ask(ends)
            await ask(other)
            await proxy.inject(Faults(swallowed=True))
            ends[1].write(b"lost")
            other[1].write_eof()
            assert await silent(ends)
            assert echo.ended == []
            await proxy.inject()
            assert await ask(ends, b"back") == b"back"
        assert b"lost" not in echo.got

    run(scenario)


def test_a_server_that_is_down() -> None:
    """New connections are refused, open ones go on; then it is there again, at the same address."""

    async def scenario(_: Echo, proxy: FaultProxy) -> None:
        address = proxy.address
        async with connected(proxy) as ends:
            await ask(ends)
            await proxy.inject(Faults(refused=True))
            with pytest.raises(ConnectionRefusedError):
                async with connected(proxy):
                    pass
            assert await ask(ends) == b"hello"
        await proxy.inject()
        assert proxy.address == address
        async with connected(proxy) as ends:
            assert await ask(ends) == b"hello"

    run(scenario)


def test_a_reset(loop_factory: LoopFactory) -> None:
    """Both sides are told by RST; who connects again is served."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            await ask(ends)
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                await ends[0].readexactly(1)
            await echo.over.wait()
        assert echo.ended == ["ConnectionResetError"]
        async with connected(proxy) as ends:
            assert await ask(ends) == b"hello"

    run(scenario, loop_factory)


def test_half_of_a_connection() -> None:
    """One side is told that no more comes, and what it sends still passes."""

    async def scenario(echo: Echo, proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            await ask(ends)
            proxy.half_close("down")
            assert await ends[0].read() == b""
            ends[1].write(b"still")
            while b"still" not in echo.got:
                await asyncio.sleep(0)

    run(scenario)


def test_a_target_that_is_not_there() -> None:
    """Whoever connects is cut off, as by a proxy in between."""

    async def scenario(_: Echo, __: FaultProxy) -> None:
        async with FaultProxy("127.0.0.1:1") as proxy, connected(proxy) as ends:
            with pytest.raises(OSError):  # noqa: PT011 - which one depends on who is quicker
                await ask(ends)

    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario(Echo(), FaultProxy("127.0.0.1:1"))

    asyncio.run(main())


def test_it_leaves_nothing() -> None:
    """Closed with connections open, frozen too, it has no task left, and nobody can connect."""

    async def scenario(_: Echo, proxy: FaultProxy) -> None:
        async with connected(proxy) as ends:
            await ask(ends)
            await proxy.inject(Faults(stopped=True))
            ends[1].write(b"kept")
            await asyncio.sleep(0)
            await proxy.aclose()
            assert await ends[0].read() == b""
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass

    run(scenario)


@pytest.mark.parametrize(
    "settings_of_faults",
    [
        {"latency": -1.0},
        {"jitter": math.nan},
        {"rate": 0.0},
        {"rate": -1.0},
        {"slice_bytes": -1},
        {"latency": math.inf},
    ],
)
def test_what_is_no_fault(settings_of_faults: dict[str, float]) -> None:
    """It is refused with what it must be."""
    with pytest.raises(ConfigurationError, match="must be"):
        Faults(**settings_of_faults)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["", "localhost", "localhost:", ":80", "localhost:http"])
def test_what_is_no_address(target: str) -> None:
    """It is refused with an example."""
    with pytest.raises(ConfigurationError, match=r"for example 127\.0\.0\.1:6379"):
        FaultProxy(target)

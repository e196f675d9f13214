"""The edge in the server's protocol: what a refusal leaves of a connection, as its bytes and its timer show."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from hasten.http import Edge, EdgeRule, HttpProtocol
from hasten.http._gate import GATE
from hasten.resilience import Limiter
from tests.http.edge.serving import hello, in_loops

GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
DATE = (b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")


class Line:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing comes but what the test hands over."""

    resume_reading = pause_reading

    def taken(self) -> bytes:
        taken, self.written = self.written, b""
        return taken


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop whose timers the test fires."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def create_task(self, coroutine: Any) -> Any:
        return asyncio.get_running_loop().create_task(coroutine)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        assert delay == 5
        self.timers.append(Timer(callback))
        return self.timers[-1]

    def fire(self) -> int:
        """Fire what is due; return how many timers that were."""
        due = [timer for timer in self.timers if not timer.cancelled]
        self.timers.clear()
        for timer in due:
            timer.callback()
        return len(due)


async def connected(limiter: Limiter, *fields: tuple[bytes, bytes]) -> tuple[HttpProtocol, Line, Loop]:
    """Return a connection of an app behind an edge, as a server makes it."""
    edge = Edge(hello, limiter=limiter, rules=[EdgeRule("/free", exempt=True)])
    state: dict[str, Any] = {}

    async def nothing(*_: Any) -> Any:
        return None

    await edge({"type": "lifespan", "state": state}, nothing, nothing)
    assert GATE in state
    config = Config(edge, http=HttpProtocol, timeout_keep_alive=5, access_log=False, log_config=None)
    config.load()
    server = ServerState()
    server.default_headers = [DATE, *fields]
    loop, line = Loop(), Line()
    protocol = HttpProtocol(config, server, state, loop)  # type: ignore[arg-type]
    protocol.connection_made(line)
    return protocol, line, loop


async def settled(line: Line) -> bytes:
    while not line.written.endswith(b"hello"):
        await asyncio.sleep(0)
    return line.taken()


def full() -> Limiter:
    limiter = Limiter(initial=1, least=1, most=1)
    assert limiter.admits()
    return limiter


@in_loops
async def test_a_connection_of_refusals_ends() -> None:
    """Refusals keep a connection open, as answers do; one that is silent after them is closed."""
    protocol, line, loop = await connected(full())
    for _ in range(3):
        protocol.data_received(GET)
        assert line.taken().startswith(b"HTTP/1.1 503 ")
    assert loop.fire() == 1
    protocol.data_received(GET)
    assert line.taken().startswith(b"HTTP/1.1 503 ")
    assert loop.fire() == 1
    open_so_far = not line.closed
    assert loop.fire() == 1
    assert (open_so_far, line.closed) == (True, True)
    assert loop.fire() == 0


@in_loops
async def test_refusals_and_answers_by_turns() -> None:
    """A refusal leaves nothing in the way of the next request's answer, and one timer at most."""
    limiter = full()
    protocol, line, loop = await connected(limiter)
    for _ in range(3):
        protocol.data_received(GET)
        assert line.taken().startswith(b"HTTP/1.1 503 ")
        limiter.dropped()
        protocol.data_received(GET)
        assert (await settled(line)).startswith(b"HTTP/1.1 200 ")
        assert limiter.admits()
        assert len([timer for timer in loop.timers if not timer.cancelled]) == 1
    assert protocol.server_state.total_requests == 6


@in_loops
async def test_in_parts_and_behind_others() -> None:
    """What comes in parts, or behind a request that is being answered, goes to the parser: answers keep their order."""
    limiter = full()
    protocol, line, _ = await connected(limiter)
    protocol.data_received(GET[:9])
    protocol.data_received(GET[9:])
    assert line.taken().startswith(b"HTTP/1.1 503 ")
    protocol.data_received(b"GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
    protocol.data_received(GET)
    while b"503" not in line.written:
        await asyncio.sleep(0)
    first, second = line.taken().split(b"hello")
    assert (first[:12], second[:12]) == (b"HTTP/1.1 200", b"HTTP/1.1 503")


@in_loops
async def test_a_body_is_not_taken_for_a_request() -> None:
    """A body that comes behind its refusal, and looks like a request, is the refused one's body."""
    protocol, line, _ = await connected(full())
    protocol.data_received(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET))
    assert line.taken().count(b"503 Service") == 1
    protocol.data_received(GET)
    assert line.taken() == b""
    protocol.data_received(GET)
    assert line.taken().count(b"503 Service") == 1


@in_loops
async def test_while_the_server_stops() -> None:
    """A server that says `Connection: close` in all it sends says so in refusals, too, and closes."""
    for request in (GET, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"):
        protocol, line, _ = await connected(full(), (b"connection", b"close"))
        protocol.data_received(request)
        while not line.closed:
            await asyncio.sleep(0)
        assert line.written.startswith(b"HTTP/1.1 503 ")
        assert line.written.count(b"connection: close\r\n") == 1
        assert line.written.endswith(b"}")

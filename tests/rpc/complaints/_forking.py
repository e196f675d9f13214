"""Programs that fork, for test_fork.py: each ends with 0 if parent and children could call, and prints nothing.

Run as `python -m tests.rpc.complaints._forking PROGRAM LOOP`; LOOP is asyncio or uvloop.
"""

import asyncio
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
import uvloop

import hasten.rpc

REUSE_PORT = [("grpc.so_reuseport", 1)]
METHOD = "/forking.Forking/Process"
CHILDREN = 3
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def process(_: bytes, __: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    """Return the process id of the server."""
    return b"%d" % os.getpid()


def new_server(port: int, **options: Any) -> tuple[hasten.rpc.Server, int]:
    """Return a server and the port it is bound to."""
    server = hasten.rpc.Server(**options)
    server.add_registered_method_handlers("forking.Forking", {"Process": grpc.unary_unary_rpc_method_handler(process)})
    return server, server.add_insecure_port(f"127.0.0.1:{port}")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a new loop of the kind that the command line names."""
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[2]]) as runner:
        return runner.run(main)


async def call(channel: hasten.rpc.Channel, times: int = 20) -> int:
    """Call so many times; return the process that answered last."""
    answer = b""
    for _ in range(times):
        answer = await channel.unary_unary(METHOD)(b"", timeout=20.0, wait_for_ready=True)
    return int(answer)


def fork(child: Callable[[], object], *, finalize: bool = True) -> int:
    """Run `child` in a new process; return its id.

    Args:
      finalize: Whether it ends as Python programs do, or at once.
    """
    number = os.fork()
    if number:
        return number
    try:
        child()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    if finalize:
        sys.exit(0)
    os._exit(0)


def all_ended_well(children: list[int]) -> bool:
    return all(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0 for number in children)


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve in this process; yield the port."""
    server, port = new_server(0)
    await server.start()
    yield port
    await server.stop(None)


def between_loops() -> None:
    """A channel is made, used, inherited by children while no loop runs, and used by all."""
    server, port = new_server(0, options=REUSE_PORT)
    serving_child = fork(lambda: run(serve_until_called(server, CHILDREN + 2)), finalize=False)
    run(server.stop(None))  # here, not in the child
    channel = hasten.rpc.Channel(f"127.0.0.1:{port}")
    run(call(channel))
    children = [fork(lambda: run(call(channel))) for _ in range(CHILDREN)]
    run(call(channel))
    assert all_ended_well(children)
    assert all_ended_well([serving_child])


async def serve_until_called(server: hasten.rpc.Server, connections: int) -> None:
    """Serve until so many clients have come and all have gone."""
    seen: set[object] = set()
    await server.start()
    while len(seen) < connections or server._connections:
        seen |= server._connections
        await asyncio.sleep(0.001)
    await server.stop(None)


def in_a_running_loop() -> None:
    """Children are forked by a coroutine; the parent's calls go on in its connection, the children have their own."""

    async def main() -> None:
        async with serving() as port, hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
            await call(channel)
            before = connections(channel)
            children = [fork(lambda: run(call(channel)), finalize=False) for _ in range(CHILDREN)]
            while children:
                await call(channel)
                children = [number for number in children if not has_ended(number)]
            assert connections(channel) == before

    run(main())


def connections(channel: hasten.rpc.Channel) -> list[object]:
    assert channel._dispatcher is not None
    return [*channel._dispatcher.connections()]


def has_ended(number: int) -> bool:
    """Return whether a child has ended; it must have ended well."""
    ended, status = os.waitpid(number, os.WNOHANG)
    assert status == 0
    return ended == number


def prefork() -> None:
    """Children serve one port (SO_REUSEPORT), each with its own server, made after the fork."""
    reserved, port = new_server(0, options=REUSE_PORT)
    _serve_in_children(lambda: new_server(port, options=REUSE_PORT)[0], port)
    run(reserved.stop(None))


def prefork_with_one_socket() -> None:
    """Children serve the socket that their parent has bound, each with its copy of the parent's server."""
    server, port = new_server(0)
    _serve_in_children(lambda: server, port)
    run(server.stop(None))


def _serve_in_children(make: Callable[[], hasten.rpc.Server], port: int) -> None:
    """Let children serve until each has answered; a channel to them, made before the fork, works in the parent."""
    reading, writing = os.pipe()

    async def serve() -> None:
        server = make()
        await server.start()
        await asyncio.to_thread(os.read, reading, 1)
        await server.stop(5.0)

    children = {fork(lambda: run(serve()), finalize=False) for _ in range(CHILDREN)}

    async def call_all() -> None:
        answered: set[int] = set()
        while answered != children:
            async with hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
                answered.add(await call(channel, times=1))

    run(call_all())
    os.write(writing, bytes(CHILDREN))
    assert all_ended_well(list(children))


def _in_worker(arguments: tuple[int, str]) -> None:
    """Call from a process of multiprocessing."""
    port, loop = arguments
    sys.argv[1:] = ["", loop]
    run(call(hasten.rpc.Channel(f"127.0.0.1:{port}")))


def _workers(method: str) -> None:
    """A pool's workers call while the parent does."""

    async def main() -> None:
        async with serving() as port, hasten.rpc.Channel(f"127.0.0.1:{port}") as channel:
            await call(channel)
            with multiprocessing.get_context(method).Pool(2) as pool:
                done = pool.map_async(_in_worker, [(port, sys.argv[2])] * 4)
                while not done.ready():
                    await call(channel)
                done.get()
                pool.close()
                pool.join()
            await call(channel)

    run(main())


PROGRAMS: dict[str, Callable[[], None]] = {
    "between-loops": between_loops,
    "in-a-running-loop": in_a_running_loop,
    "prefork": prefork,
    "prefork-with-one-socket": prefork_with_one_socket,
    "multiprocessing-fork": lambda: _workers("fork"),
    "multiprocessing-spawn": lambda: _workers("spawn"),
    "multiprocessing-forkserver": lambda: _workers("forkserver"),
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]]()

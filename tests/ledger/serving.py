"""Serves an app in the test's own loop by real uvicorn, asks it, and returns the accounts of its requests."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import uvicorn

import hasten
from hasten.ledger import Account, Kind
from hasten.ledger._records import NO_SCOPE, RequestRecord

LoopFactory = Any


class Served:
    """An app that is being served: `ask` it; once it has stopped all `accounts` are made."""

    def __init__(self, port: int, accounts: list[Account]) -> None:
        self.port = port
        self.accounts = accounts

    async def ask(self, *targets: str) -> list[bytes]:
        """Send one GET for each target on a connection of its own, all at once; return the raw responses."""
        return await asyncio.gather(*(self.ask_one(target) for target in targets))

    async def ask_one(self, target: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        response = await reader.read()
        writer.close()
        return response

    def account(self, endpoint: str) -> Account:
        """Return the last account of an endpoint."""
        found = [account for account in self.accounts if account.endpoint == endpoint]
        assert found, f"no account of {endpoint} among {[account.endpoint for account in self.accounts]}"
        return found[-1]


@contextlib.asynccontextmanager
async def serving(
    app: Any, *, http: str = "httptools", install: Callable[..., Any] = hasten.install, **options: Any
) -> AsyncIterator[Served]:
    """Install the ledger into `app` (every request, in detail) and serve it while the context is open."""
    accounts: list[Account] = []
    settings: dict[str, Any] = {
        "sample_every": 1,
        "detail": True,
        "listeners": [accounts.append],
        "service": "test",
    } | options
    installed = install(app, **settings)
    async with uvicorn_serving(installed, http=http) as port:
        yield Served(port, accounts)


@contextlib.asynccontextmanager
async def uvicorn_serving(app: Any, *, http: str = "httptools") -> AsyncIterator[int]:
    """Serve `app` on a free port of 127.0.0.1 and yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=http, log_level="critical"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve(None))
    while not server.started:
        await asyncio.sleep(0)
        if task.done():
            await task
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


def ask(app: Any, targets: Sequence[str], loop_factory: LoopFactory, **options: Any) -> Served:
    """Serve `app`, ask all targets one after the other, and return what was served."""

    async def conversation() -> Served:
        async with serving(app, **options) as served:
            for target in targets:
                await served.ask(target)
            return served

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(conversation())


def seconds(account: Account, kind: Kind, *, function: str = "", line: int = 0) -> float:
    """Return the account's seconds of one kind, of one function or line where they are given."""
    return sum(
        found.seconds
        for found in account.lines
        if found.kind is kind
        and (not function or found.site.function.endswith(function))
        and (not line or found.site.line == line)
    )


def is_shell(request: RequestRecord) -> bool:
    """Tell whether nothing is left of a record but itself and empty lists, less than 512 bytes in all."""
    left = gc.get_referents(request)
    lists = [kept for kept in left if isinstance(kept, list)]
    plain = all(isinstance(kept, int | float | list | type | None) or kept is NO_SCOPE for kept in left)
    return plain and not any(lists) and sys.getsizeof(request) + sum(map(sys.getsizeof, lists)) < 512

"""How a type checker sees the ledger's API; checked by mypy, never run."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

import hasten
from hasten.ledger import Account, Kind, Ledger, Line, Listener, Recorder, Site, install, read_accounts


async def plain(scope: Scope, receive: Receive, send: Send) -> None: ...


def listener(account: Account) -> None:
    assert_type(account.endpoint, str)
    assert_type(account.wall, float)
    assert_type(account.coverage, float)
    assert_type(account.lines, tuple[Line, ...])
    for line in account.lines:
        assert_type(line.kind, Kind)
        assert_type(line.site, Site)


def wrong_listener(account: int) -> None: ...


fastapi = FastAPI()
assert_type(install(fastapi), FastAPI)
assert_type(hasten.install(fastapi, service="shop", sample_every=1, detail=True), FastAPI)
hasten.install(plain, listeners=[listener, Recorder(Path("shop.accounts"))])
hasten.install(plain, listeners=[wrong_listener])  # type: ignore[list-item]
hasten.install(fastapi, "shop")  # type: ignore[call-arg]
hasten.install(fastapi, sample=1)  # type: ignore[call-arg]

ledger = Ledger("shop", listeners=(listener,))
assert_type(ledger.on, bool)
assert_type(ledger.listeners, list[Listener])
assert_type(read_accounts(Path("shop.accounts")), Iterator[Account])

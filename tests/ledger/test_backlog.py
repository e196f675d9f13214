"""Accounts wait for each other only where every request is recorded and the end will be told; none is lost."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn

import hasten
from hasten.ledger import Account, Ledger, install
from hasten.ledger._backlog import Backlog
from hasten.ledger._records import REQUEST, RequestRecord
from tests.ledger.cases import make_app
from tests.ledger.serving import LoopFactory, Served, is_shell, serving

pytestmark = pytest.mark.may_block


class Settled:
    """A backlog on the running loop, the requests it has settled, and an event for the first of them."""

    def __init__(self) -> None:
        self.requests: list[RequestRecord] = []
        self.records_seen: list[RequestRecord | None] = []
        self.some = asyncio.Event()
        self.backlog = Backlog(asyncio.get_running_loop(), self.settle)

    def settle(self, request: RequestRecord) -> None:
        self.requests.append(request)
        self.records_seen.append(REQUEST.get())
        self.some.set()


def make_requests(count: int) -> list[RequestRecord]:
    return [RequestRecord(float(number)) for number in range(count)]


def run(loop_factory: LoopFactory, main: Callable[[Settled], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on a new loop with a backlog of its own."""

    async def outer() -> None:
        await main(Settled())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(outer())


def test_accounts_are_made_at_once_unless_the_backlog_is_patient(loop_factory: LoopFactory) -> None:
    """Where few requests are recorded, none waits."""

    async def main(settled: Settled) -> None:
        (request,) = make_requests(1)
        settled.backlog.add(request)
        assert settled.requests == [request]

    run(loop_factory, main)


def test_sixteen_accounts_are_made_together_in_order(loop_factory: LoopFactory) -> None:
    """Fifteen wait; the sixteenth has all of them made."""

    async def main(settled: Settled) -> None:
        settled.backlog.patient = True
        requests = make_requests(16)
        for request in requests[:15]:
            settled.backlog.add(request)
        assert not settled.requests
        settled.backlog.add(requests[15])
        assert settled.requests == requests

    run(loop_factory, main)


def test_a_few_accounts_do_not_wait_for_long(loop_factory: LoopFactory) -> None:
    """When no further request comes, the loop's clock has the accounts made, in no request's context; and again."""

    async def main(settled: Settled) -> None:
        settled.backlog.patient = True
        REQUEST.set(RequestRecord(0.0))
        for request in make_requests(2):
            settled.some.clear()
            settled.backlog.add(request)
            await settled.some.wait()
        assert len(settled.requests) == 2
        assert settled.records_seen == [None, None]

    run(loop_factory, main)


def test_a_closed_backlog_keeps_nothing(loop_factory: LoopFactory) -> None:
    """What waits is made when the backlog is closed; what comes later is made at once, and no timer is left."""

    async def main(settled: Settled) -> None:
        settled.backlog.patient = True
        requests = make_requests(3)
        settled.backlog.add(requests[0])
        settled.backlog.add(requests[1])
        timer = settled.backlog._timer
        settled.backlog.close()
        assert settled.requests == requests[:2]
        assert timer is not None
        assert timer.cancelled()
        settled.backlog.add(requests[2])
        assert settled.requests == requests

    run(loop_factory, main)


def endpoints(accounts: list[Account]) -> list[str]:
    return sorted(account.endpoint for account in accounts)


def test_the_apps_stop_leaves_no_account_behind(loop_factory: LoopFactory) -> None:
    """Accounts that wait when the service ends are made then."""

    async def conversation() -> Served:
        async with serving(make_app()) as served:
            await served.ask("/fast", "/items/1", "/gather")
        return served

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        served = runner.run(conversation())
        assert endpoints(served.accounts) == ["GET /fast", "GET /gather", "GET /items/{item}"]


def test_where_no_end_will_be_told_no_account_waits(loop_factory: LoopFactory) -> None:
    """An app without a lifespan is not told of its end: each of its accounts is made when its request is over.

    The ledger alone: `hasten.install` gives every app a lifespan, the monitor's.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # the server takes the error for "no lifespan here"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def conversation() -> None:
        async with serving(app, install=install) as served:
            for number in range(1, 4):
                await served.ask("/plain")
                assert len(served.accounts) == number

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(conversation())


def test_a_loop_that_ends_without_the_server_leaves_no_account_behind(loop_factory: LoopFactory) -> None:
    """When the loop is torn down around the server, the end of the lifespan's task has the accounts made."""
    accounts: list[Account] = []
    app = hasten.install(make_app(), sample_every=1, listeners=[accounts.append])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))

    async def conversation() -> "asyncio.Task[None]":
        task = asyncio.create_task(server._serve(None))
        while not server.started:
            await asyncio.sleep(0)
        listening = server.servers[0]
        await Served(listening.sockets[0].getsockname()[1], accounts).ask("/fast", "/fast")
        listening.close()  # uvloop does not close a loop that listens
        return task

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        task = runner.run(conversation())
    assert task.cancelled()
    assert endpoints(accounts) == ["GET /fast", "GET /fast"]


def test_a_loop_that_was_closed_is_settled_by_the_next(loop_factory: LoopFactory) -> None:
    """A loop that nobody detached, closed with its timer pending, gives its accounts when another is attached."""
    accounts: list[Account] = []
    ledger = Ledger(sample_every=1, listeners=[accounts.append])

    async def ending() -> None:
        attached = ledger.attach(asyncio.get_running_loop())
        assert attached is not None
        attached.state.backlog.patient = True
        REQUEST.set(RequestRecord(0.0))
        await asyncio.create_task(asyncio.sleep(0))
        assert not accounts

    async def following() -> None:
        loop = asyncio.get_running_loop()
        ledger.attach(loop)
        assert len(accounts) == 1
        ledger.detach(loop)

    for main in (ending, following):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())


def test_what_happens_after_the_end_is_not_the_requests(loop_factory: LoopFactory) -> None:
    """While its account waits, a late last byte does not change when a request ended."""
    (request,) = make_requests(1)
    request.add_task(None, 0.0).waiting_since = 2.0
    request.close()
    request.complete(9.0)

    assert request.end == 2.0


def ended_requests(loop_factory: LoopFactory, *targets: str) -> list[RequestRecord]:
    """Return the records of requests whose accounts still wait."""
    ended: list[RequestRecord] = []

    async def conversation() -> None:
        app = hasten.install(make_app())
        async with serving(app) as served:
            await served.ask("/fast")
            attached = app.state.ledger.loop(asyncio.get_running_loop())
            assert attached is not None
            attached.state.backlog = Backlog(asyncio.get_running_loop(), ended.append)
            await served.ask(*targets)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(conversation())
    return ended


def test_an_ended_request_keeps_nothing_of_the_users(loop_factory: LoopFactory) -> None:
    """While its account waits, a request holds no scope, coroutine or future: memory lives as long as without."""
    (request,) = ended_requests(loop_factory, "/gather")

    assert request.scope is None
    assert len(request.tasks) == 3
    for task in request.tasks:
        kept = (task.coroutine, task.driven, task.anchor, task.base, task.called, task.future)
        assert kept == (None,) * 6


def test_a_dropped_record_is_an_empty_shell(loop_factory: LoopFactory) -> None:
    """When the account is made, what contexts may keep of a request is less than 512 bytes of numbers."""
    requests = ended_requests(loop_factory, "/gather", "/thread", "/stream")
    for request in requests:
        request.drop()

    assert len(requests) == 3
    for request in requests:
        assert is_shell(request)

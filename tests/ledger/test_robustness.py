"""An app that misbehaves, or a ledger that fails, never breaks a request: it is answered as without the ledger."""

import asyncio
import dataclasses
import logging
import random
import threading
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import Request

import hasten
from hasten.ledger import Account, Ledger, _factory
from hasten.ledger._accountant import Accountant
from hasten.ledger._factory import Factory
from hasten.ledger._sites import SiteTable
from tests.ledger.cases import make_app
from tests.ledger.serving import LoopFactory, ask, serving

pytestmark = pytest.mark.may_block


def ok(response: bytes) -> bool:
    return response.startswith(b"HTTP/1.1 200")


def warned_off(caplog: pytest.LogCaptureFixture) -> bool:
    return any("the ledger is off" in record.message for record in caplog.records)


def converse(loop_factory: LoopFactory, app: FastAPI, *targets: str, **options: Any) -> list[bytes]:
    async def conversation() -> list[bytes]:
        async with serving(app, **options) as served:
            return [await served.ask_one(target) for target in targets]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(conversation())


def test_a_listener_that_raises_turns_the_ledger_off(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The request of the failing listener and all later ones are answered; one warning names the error."""

    def listener(account: Account) -> None:
        raise ZeroDivisionError("listener")

    responses = converse(loop_factory, make_app(), "/items/1", "/gather", "/fast", listeners=[listener])

    assert all(map(ok, responses))
    warnings = [record for record in caplog.records if "the ledger is off" in record.message]
    assert len(warnings) == 1
    assert "ZeroDivisionError: listener" in warnings[0].message


@pytest.mark.parametrize(
    ("owner", "method"), [(SiteTable, "suspended"), (Accountant, "attribute"), (Factory, "sample")]
)
def test_a_failure_inside_turns_the_ledger_off(
    owner: type,
    method: str,
    loop_factory: LoopFactory,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever part of the ledger fails, the request that meets it is answered."""
    app = make_app()

    async def conversation() -> list[bytes]:
        async with serving(app) as served:
            await served.ask("/fast")
            monkeypatch.setattr(owner, method, fail)
            return [
                await served.ask_one("/items/1"),
                await served.ask_one("/stream"),
                await served.ask_one("/fast"),
            ]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert all(map(ok, runner.run(conversation())))
    assert warned_off(caplog)


def fail(*_: Any) -> Any:
    raise ZeroDivisionError("inside")


def test_a_factory_set_before_is_kept(loop_factory: LoopFactory) -> None:
    """The app's own factory still makes the tasks, and the requests are recorded."""
    made = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        made.append(coro)
        options.pop("eager_start", None)
        return asyncio.Task(coro, loop=loop, **options)

    async def conversation() -> list[Account]:
        asyncio.get_running_loop().set_task_factory(factory)
        async with serving(make_app()) as served:
            await served.ask("/gather")
            count = len(made)
        assert asyncio.get_running_loop().get_task_factory() is factory
        assert count > 2
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert [account.endpoint for account in runner.run(conversation())] == ["GET /gather"]


def test_a_factory_set_later_turns_the_ledger_off(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    """An app that replaces our factory gets its own, a warning, and its answers."""

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        options.pop("eager_start", None)
        return asyncio.Task(coro, loop=loop, **options)

    async def conversation() -> list[bytes]:
        app = make_app()
        async with serving(app) as served:
            await served.ask("/fast")
            loop = asyncio.get_running_loop()
            loop.set_task_factory(factory)
            while app.state.ledger.on:
                await asyncio.sleep(0.001)
            responses = [await served.ask_one("/items/1")]
            assert loop.get_task_factory() is factory
        return responses

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert all(map(ok, runner.run(conversation())))
    assert warned_off(caplog)


def test_a_later_factory_that_calls_ours_keeps_the_ledger_on(loop_factory: LoopFactory) -> None:
    """A factory that wraps ours, as tracing libraries do, leaves the ledger working."""

    async def conversation() -> list[Account]:
        app = make_app()
        async with serving(app) as served:
            await served.ask("/fast")
            loop = asyncio.get_running_loop()
            ours: Any = loop.get_task_factory()
            loop.set_task_factory(lambda loop, coro, **options: ours(loop, coro, **options))
            beats = asyncio.Event()
            loop.call_later(0.05, beats.set)
            while not beats.is_set():
                await asyncio.create_task(asyncio.sleep(0.001))
            await served.ask("/items/1")
            assert app.state.ledger.on
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert [account.endpoint for account in runner.run(conversation())] == [
            "GET /fast",
            "GET /items/{item}",
        ]


def test_an_apps_own_probe_is_not_taken_for_ours(loop_factory: LoopFactory) -> None:
    """A function of the app's called `probe` does not hide whether a later factory calls ours."""

    async def probe() -> None:
        pass

    probe.__qualname__ = "probe"

    async def main() -> bool:
        ledger = Ledger()
        loop = asyncio.get_running_loop()
        attached = ledger.attach(loop)
        assert attached is not None
        await asyncio.create_task(probe())
        ledger._probe_factory(loop, attached)
        await asyncio.sleep(0)
        on = ledger.on
        ledger.detach(loop)
        return on

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main())


def test_tasks_made_from_threads_work(loop_factory: LoopFactory) -> None:
    """run_coroutine_threadsafe and a task made straight from a thread run; the request is answered and recorded."""
    app = make_app()

    @app.get("/from-thread")
    async def from_thread() -> int:
        loop = asyncio.get_running_loop()
        made: list[asyncio.Task[int]] = []

        def work() -> int:
            made.append(loop.create_task(number()))
            return asyncio.run_coroutine_threadsafe(number(), loop).result(5)

        result = await asyncio.to_thread(work)
        return result + await made[0]

    served = ask(app, ["/from-thread"], loop_factory)
    assert served.account("GET /from-thread").status == 200


async def number() -> int:
    await asyncio.sleep(0.001)
    return 21


def test_two_loops_in_one_process_each_have_their_accounts(loop_factory: LoopFactory) -> None:
    """One app served by two loops in two threads at once answers on both and records on both."""
    app = make_app()
    accounts: list[Account] = []
    hasten.install(app, sample_every=1, listeners=[accounts.append])
    barrier = threading.Barrier(2)
    statuses: list[int] = []

    def client() -> None:
        with TestClient(app) as http:
            barrier.wait(10)
            statuses.extend(http.get("/items/1").status_code for _ in range(3))
            barrier.wait(10)

    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * 6
    assert len(accounts) == 6


def test_the_test_client_works_and_records() -> None:
    """A server whose tasks the factory does not know (the test client's) is recorded from the app's edge on."""
    accounts: list[Account] = []
    app = hasten.install(make_app(), sample_every=1, listeners=[accounts.append])

    with TestClient(app) as http:
        assert http.get("/items/5").json() == 5
        assert http.get("/thread").json() == 1
        with http.websocket_connect("/socket") as socket:
            assert socket.receive_text() == "hello"

    assert [account.endpoint for account in accounts] == ["GET /items/{item}", "GET /thread"]


def test_an_app_that_raises_is_answered_with_500_and_recorded(loop_factory: LoopFactory) -> None:
    """An exception in the handler reaches the server as without the ledger, and the account says 500."""
    app = make_app()

    @app.get("/broken")
    async def broken() -> None:
        await asyncio.sleep(0.001)
        raise KeyError("broken")

    responses = converse(loop_factory, app, "/broken", "/fast")
    assert responses[0].startswith(b"HTTP/1.1 500")
    assert ok(responses[1])


def test_a_client_that_goes_away_leaves_no_record(loop_factory: LoopFactory) -> None:
    """A connection closed in mid-request ends in an account and no open record."""

    async def conversation() -> list[Account]:
        async with serving(make_app()) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.close()
            await served.ask("/sequence")
        return served.accounts

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        accounts = runner.run(conversation())
    assert {account.endpoint for account in accounts} == {"GET /stream", "GET /sequence"}


def test_a_scope_like_no_other_does_not_break_the_request(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A request whose scope cannot be read in the end, and the ones after it, are answered; the ledger is off."""
    app = make_app()

    @app.get("/odd")
    async def odd(request: Request) -> int:
        request.scope["headers"] = [None]
        return 1

    assert all(map(ok, converse(loop_factory, app, "/odd", "/items/1")))
    assert warned_off(caplog)


def test_an_app_that_has_no_hash_can_be_mounted(loop_factory: LoopFactory) -> None:
    """The function that a route leads to may be any object, a data class for example."""

    @dataclasses.dataclass
    class Mounted:
        text: bytes

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self.text})

    app = make_app()
    app.mount("/mounted", Mounted(b"ok"))
    served = ask(app, ["/mounted/", "/mounted/"], loop_factory)

    assert len(served.accounts) == 2
    assert app.state.ledger.on


def test_an_app_may_return_any_awaitable() -> None:
    """An ASGI app that is a plain function, and returns a future, is served and recorded as it is."""
    accounts: list[Account] = []

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.001)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def app(scope: Any, receive: Any, send: Any) -> "asyncio.Future[None]":
        return asyncio.ensure_future(handle(scope, receive, send))

    wrapped = hasten.install(app, sample_every=1, listeners=[accounts.append])
    assert TestClient(wrapped).get("/").text == "ok"
    assert [account.status for account in accounts] == [200]


def test_a_plain_asgi_app_is_wrapped(loop_factory: LoopFactory) -> None:
    """Any ASGI app can be served with the ledger; its endpoint is the path."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        await asyncio.sleep(0.002)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    served = ask(app, ["/plain"], loop_factory)
    assert served.account("GET /plain").wall >= 0.002


def test_installing_makes_no_task_thread_or_log(caplog: pytest.LogCaptureFixture) -> None:
    """install() alone starts nothing."""
    before = threading.active_count()
    with caplog.at_level(logging.DEBUG):
        hasten.install(make_app())
    assert threading.active_count() <= before
    assert not caplog.records


def test_an_app_that_installs_the_ledger_itself_can_be_recorded(loop_factory: LoopFactory) -> None:
    """A second install keeps the one ledger, takes the new settings and adds the listeners."""
    own: list[Account] = []
    app = hasten.install(make_app(), sample_every=10**9, listeners=[own.append])
    served = ask(app, ["/items/1"], loop_factory)

    assert [account.endpoint for account in served.accounts] == ["GET /items/{item}"]
    assert own == served.accounts


def test_sampling_is_capped_in_time(loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request in n is recorded at random, ten a second at most, however many there are."""
    now = 100.0

    async def count(requests: int, seconds: float) -> int:
        nonlocal now
        ledger = Ledger(sample_every=20, random_source=random.Random(1))
        loop = asyncio.get_running_loop()
        attached = ledger.attach(loop)
        assert attached is not None
        monkeypatch.setattr(_factory, "monotonic", lambda: now)
        taken = 0
        for _ in range(requests):
            now += seconds / requests
            taken += attached.factory.sample()
        ledger.detach(loop)
        return taken

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert 40 <= runner.run(count(1000, seconds=1000.0)) <= 60
        assert 80 <= runner.run(count(100_000, seconds=10.0)) <= 100

"""The admin port of a served app: it lives as the app does, and answers while the app's loop does not."""

import asyncio
import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI

import hasten
from hasten.admin import Admin, AdminAddress
from hasten.monitor import Check, Monitor, Snapshot
from hasten.monitor import _catalogue as catalogue
from tests.ledger.serving import uvicorn_serving

FREE = "127.0.0.1:0"


def ask(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, bytes, str]:
    """Return status, body and content type of an answer."""
    request = urllib.request.Request(url, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read(), response.headers["content-type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers["content-type"]


async def asked(url: str, *arguments: Any) -> tuple[int, bytes, str]:
    return await asyncio.to_thread(ask, url, *arguments)


def holding_app() -> FastAPI:
    app = FastAPI()
    app.state.go_on = threading.Event()

    @app.get("/hold")
    async def hold() -> str:
        app.state.go_on.wait(20)  # the fault: it holds the loop
        return "held"

    @app.get("/items/{item}")
    async def item(item: int) -> int:
        return item

    return app


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[tuple[str, str]]:
    """Serve an app; give its URL and that of its admin port."""
    installed = hasten.install(app, service="test", admin=FREE, **options)
    monitor = installed.state.monitor if isinstance(installed, FastAPI) else installed.monitor
    async with uvicorn_serving(installed) as port:
        yield f"http://127.0.0.1:{port}", monitor.url


def test_it_answers_while_the_loop_is_held() -> None:
    """/livez names how long the loop has been held and the line; metrics and checks answer as well."""
    app = holding_app()
    answers: dict[str, tuple[int, bytes, str]] = {}

    def look(admin: str) -> None:
        while b'"blocked"' not in answers.get("/livez", (0, b"", ""))[1]:
            answers["/livez"] = ask(f"{admin}/livez")
        answers["/metrics"] = ask(f"{admin}/metrics")
        answers["/readyz"] = ask(f"{admin}/readyz")
        app.state.go_on.set()

    async def conversation() -> None:
        async with serving(app) as (url, admin):
            looking = asyncio.create_task(asyncio.to_thread(look, admin))
            assert (await asked(f"{url}/hold"))[1] == b'"held"'
            await looking
            assert json.loads((await asked(f"{admin}/livez"))[1])["status"] == "ok"

    asyncio.run(conversation())
    said = json.loads(answers["/livez"][1])
    assert answers["/livez"][0] == 200
    assert said["loop_blocked_seconds"] > 0
    assert said["at"].endswith(" holding_app.<locals>.hold")
    assert answers["/metrics"][0] == answers["/readyz"][0] == 200


def test_a_dead_loop_fails_livez() -> None:
    """A loop that has stood still for half a minute is dead: 503, for an orchestrator to restart the process."""
    monitor = Monitor("test")
    now = [100.0]
    monitor.runtime._clock = lambda: now[0]
    admin = Admin(monitor, AdminAddress(port=0))

    async def conversation() -> None:
        monitor.runtime.start()
        admin.start()
        now[0] += 29.0
        assert (await asked(f"{monitor.url}/livez"))[0] == 200
        now[0] += 2.0
        status, body, _ = await asked(f"{monitor.url}/livez")
        assert (status, json.loads(body)["status"]) == (503, "dead")
        monitor.runtime.stop()
        await admin.aclose()

    asyncio.run(conversation())


def test_readiness() -> None:
    """/readyz is 200 while all named checks hold, and 503 with the reasons while one does not."""
    app = holding_app()

    async def conversation() -> None:
        async with serving(app) as (_, admin):
            status, body, _ = await asked(f"{admin}/readyz")
            assert (status, json.loads(body)["ready"]) == (200, True)
            app.state.monitor.add_checks(lambda: [Check(name="database", ok=False, reason="no route")])
            status, body, _ = await asked(f"{admin}/readyz")
            said = {check["name"]: check for check in json.loads(body)["checks"]}
            assert status == 503
            assert said["database"] == {"name": "database", "ok": False, "reason": "no route", "required": True}
            assert said["app"]["ok"]
            app.state.monitor._checks.pop()
            app.state.monitor.add_checks(lambda: [Check(name="broker", ok=False, reason="away", required=False)])
            status, body, _ = await asked(f"{admin}/readyz")
            assert (status, json.loads(body)["ready"]) == (200, True)

    asyncio.run(conversation())


def test_it_answers_before_the_app_has_started() -> None:
    """While the app starts and while it stops it is alive, and not ready."""
    seen: list[tuple[int, str]] = []

    async def look() -> None:
        status, body, _ = await asked(f"{app.state.monitor.url}/readyz")
        reasons = [check["reason"] for check in json.loads(body)["checks"] if check["name"] == "app"]
        assert (await asked(f"{app.state.monitor.url}/livez"))[0] == 200
        seen.append((status, reasons[0]))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await look()
        yield
        await look()

    app = FastAPI(lifespan=lifespan)

    async def conversation() -> None:
        async with serving(app):
            await look()
            url = app.state.monitor.url
        assert app.state.monitor.url == ""
        with pytest.raises(urllib.error.URLError):
            await asked(f"{url}/livez")

    asyncio.run(conversation())
    assert seen == [(503, "it starts"), (200, ""), (503, "it stops")]


def test_metrics_of_the_app() -> None:
    """A scrape has the app's requests by route, in the format that was asked for; /snapshot has the same numbers."""

    async def conversation() -> None:
        async with serving(holding_app()) as (url, admin):
            for item in range(3):
                await asked(f"{url}/items/{item}")
            status, text, kind = await asked(f"{admin}/metrics")
            assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
            labels = 'worker="0",http_request_method="GET",http_route="/items/{item}",http_response_status_code="200"'
            assert f"http_server_request_duration_seconds_count{{{labels}}} 3\n".encode() in text
            accepts = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
            _, open_metrics, kind = await asked(f"{admin}/metrics", accepts)
            assert kind.startswith("application/openmetrics-text; version=1.0.0")
            assert open_metrics.endswith(b"# EOF\n")
            _, packed, _ = await asked(f"{admin}/snapshot")
            snapshot = msgspec.msgpack.decode(packed, type=Snapshot)
            (series,) = snapshot.family(catalogue.HTTP_SERVER_DURATION).series
            assert series.values == ("GET", "/items/{item}", "200")
            assert (snapshot.service, snapshot.worker) == ("test", "0")

    asyncio.run(conversation())


def test_the_ledger() -> None:
    """/ledger has the recorded endpoints, with the lines where their time went."""

    async def conversation() -> None:
        async with serving(holding_app(), sample_every=1) as (url, admin):
            await asked(f"{url}/items/1")
            said: Any = {"endpoints": []}
            while not said["endpoints"]:  # accounts may wait for each other, 50 ms at most
                said = json.loads((await asked(f"{admin}/ledger"))[1])
            assert [one["endpoint"] for one in said["endpoints"]] == ["GET /items/{item}"]
            assert said["endpoints"][0]["lines"]

    asyncio.run(conversation())


def test_a_token() -> None:
    """With a token all but health is for who sends it; of readiness others learn whether, but not why."""

    async def conversation() -> None:
        async with serving(holding_app(), admin_token="secret") as (_, admin):
            for path in ("/metrics", "/snapshot", "/ledger", "/history", "/live"):
                status, body, _ = await asked(f"{admin}{path}")
                assert (path, status, b"secret" in body) == (path, 401, False)
            allowed = {"authorization": "Bearer secret"}
            assert (await asked(f"{admin}/metrics", allowed))[0] == 200
            assert json.loads((await asked(f"{admin}/readyz"))[1]) == {"ready": True}
            assert "checks" in json.loads((await asked(f"{admin}/readyz", allowed))[1])
            assert (await asked(f"{admin}/livez"))[0] == 200

    asyncio.run(conversation())


def test_what_is_not_there() -> None:
    """An unknown path is 404 and says what there is, a method that changes things is 405; HEAD has no body."""

    async def conversation() -> None:
        async with serving(holding_app()) as (_, admin):
            status, body, _ = await asked(f"{admin}/nowhere")
            assert (status, b"/metrics" in body) == (404, True)
            assert (await asked(f"{admin}/metrics", None, "DELETE"))[0] == 405
            assert (await asked(f"{admin}/livez", None, "HEAD"))[:2] == (200, b"")

    asyncio.run(conversation())


def test_two_processes_of_one_service() -> None:
    """The second one gets the next port, and its number stands on its series."""
    first, second = Monitor("test"), Monitor("test")

    async def conversation() -> None:
        one = Admin(first, AdminAddress(port=0))
        one.start()
        port = int(first.url.rpartition(":")[2])
        other = Admin(second, AdminAddress(port=port))
        other.start()
        number = int(second.url.rpartition(":")[2]) - port
        assert number >= 1
        assert f'worker="{number}"'.encode() in (await asked(f"{second.url}/metrics"))[1]
        await one.aclose()
        await other.aclose()

    asyncio.run(conversation())


def test_a_port_that_cannot_be_bound() -> None:
    """The app does not start, and the reason is said; it is not served without its own start-up."""
    started: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        started.append("app")
        yield

    app = hasten.install(FastAPI(lifespan=lifespan), admin="192.0.2.1:9464", admin_token="t")
    said: list[Any] = []

    async def conversation() -> None:
        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            said.append(message)

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    asyncio.run(conversation())
    assert started == []
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    assert "192.0.2.1:9464" in said[0]["message"]


def test_without_a_lifespan() -> None:
    """Where no lifespan is run requests are counted and the loop watched, without a port that nobody would close."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def send(message: Any) -> None:
        sent.append(message.get("body"))

    async def conversation() -> None:
        installed: Any = hasten.install(app, admin=FREE)
        for _ in range(2):
            await installed({"type": "http", "method": "GET", "path": "/", "headers": []}, None, send)
        assert installed.monitor.url == ""
        assert installed.monitor.runtime.loop is asyncio.get_running_loop()
        snapshot = await asyncio.to_thread(installed.monitor.snapshot)
        (series,) = snapshot.family(catalogue.HTTP_SERVER_DURATION).series
        assert series.value.count == 2
        assert [thread for thread in threading.enumerate() if thread.name == "hasten-admin"] == []
        installed.ledger.detach(asyncio.get_running_loop())

    asyncio.run(conversation())
    assert sent == [None, b"ok"] * 2


@pytest.mark.parametrize("how", ["raises", "returns"])
def test_an_app_that_has_no_lifespan(how: str) -> None:
    """A server's lifespan opens and closes the port also for an app that knows of none."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            if how == "raises":
                raise NotImplementedError
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def conversation() -> None:
        async with serving(app) as (url, admin):
            assert (await asked(url))[1] == b"ok"
            assert (await asked(f"{admin}/readyz"))[0] == 200
        with pytest.raises(urllib.error.URLError):
            await asked(f"{admin}/livez")

    asyncio.run(conversation())


def test_it_ends_with_the_app() -> None:
    """When the app has stopped no thread of it is left, and the port is free again."""

    async def conversation() -> None:
        async with serving(holding_app()) as (_, admin):
            assert (await asked(f"{admin}/livez"))[0] == 200
        assert [thread for thread in threading.enumerate() if thread.name == "hasten-admin"] == []
        address = admin.removeprefix("http://").split(":")
        listener, number = AdminAddress(port=int(address[1])).bind()
        listener.close()
        assert number == 0

    asyncio.run(conversation())


def test_an_app_can_be_run_again() -> None:
    """A lifespan that runs once more, as in tests, has the port once more."""
    app = holding_app()

    async def conversation() -> None:
        for _ in range(2):
            async with serving(app) as (_, admin):
                assert (await asked(f"{admin}/readyz"))[0] == 200

    asyncio.run(conversation())


def test_a_process_without_an_app() -> None:
    """`monitoring()` serves the same for a process that has no app, while its block runs."""

    async def conversation() -> None:
        async with hasten.monitoring(service="stock", admin=FREE) as monitor:
            _, text, _ = await asked(f"{monitor.url}/metrics")
            assert b'hasten_build_info{worker="0",service="stock"' in text
            assert (await asked(f"{monitor.url}/readyz"))[0] == 200
            begun = time.monotonic()
            while not (await asked(f"{monitor.url}/metrics"))[1].count(b"hasten_loop_lag_seconds_bucket"):
                assert time.monotonic() - begun < 20
            url = monitor.url
        with pytest.raises(urllib.error.URLError):
            await asked(f"{url}/livez")

    asyncio.run(conversation())

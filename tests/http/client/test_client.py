"""A client of a real service, served by uvicorn in the same loop."""

import asyncio
import pickle
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse

from hasten._core.errors import ConfigurationError
from hasten._core.tracing import Tracer
from hasten.http.client import Client, ConnectFailed, DecodeFailed, HttpStatusError, Limits
from hasten.ledger import Kind
from hasten.resilience import Refused
from tests.cache.running import run
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling_service, pool_of, response
from tests.ledger.serving import serving as ledger_serving
from tests.ledger.serving import uvicorn_serving
from tests.load.servers import answering, refused_url, serving
from tests.rpc.certificates import Certificates
from tests.rpc.conftest import certificates

if TYPE_CHECKING:
    from hasten._core.signals import HttpCallFinished

__all__ = ("certificates",)  # a fixture


class Price(msgspec.Struct):
    item: int
    cents: int


class Model(pydantic.BaseModel):
    item: int
    cents: int


def shop() -> FastAPI:
    app = FastAPI()

    @app.get("/prices/{item}")
    async def price(item: int) -> dict[str, int]:
        return {"item": item, "cents": 100 * item}

    @app.api_route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def echo(request: Request) -> dict[str, Any]:
        body = await request.body()
        return {
            "method": request.method,
            "query": request.url.query,
            "body": body.decode(),
            "fields": dict(request.headers),
        }

    @app.get("/missing")
    async def missing() -> JSONResponse:
        problem = {"title": "No such price", "detail": "item 7 is not sold", "item": 7}
        return JSONResponse(problem, 404, media_type="application/problem+json")

    @app.get("/moved")
    async def moved() -> RedirectResponse:
        return RedirectResponse("/prices/1")

    @app.get("/text")
    async def text() -> PlainTextResponse:
        return PlainTextResponse("caf\u00e9".encode("latin-1"), media_type="text/plain; charset=latin-1")

    @app.get("/empty", status_code=204)
    async def empty() -> None: ...

    @app.get("/lines")
    async def lines(count: int) -> StreamingResponse:
        return StreamingResponse((f"line {number}\n" for number in range(count)), media_type="text/plain")

    return app


@asynccontextmanager
async def client_of_shop(**options: Any) -> AsyncIterator[Client]:
    async with uvicorn_serving(shop()) as port, Client(f"http://127.0.0.1:{port}", **options) as client:
        yield client


def test_answers(loop_factory: LoopFactory) -> None:
    """An answer has a status, fields, and a body that is decoded to what the caller asks for."""

    async def scenario() -> None:
        async with client_of_shop() as client:
            response = await client.get("/prices/7")
            assert (response.status, response.ok) == (200, True)
            assert response.fields["Content-Type"] == "application/json"
            assert response.json() == {"item": 7, "cents": 700}
            assert response.decode(Price) == Price(7, 700)
            assert await client.get("/prices/7", decode=Price) == Price(7, 700)
            assert await client.get("/prices/7", decode=Model) == Model(item=7, cents=700)
            assert await client.get("/prices/7", decode=dict[str, int]) == {"item": 7, "cents": 700}
            assert (await client.get("/text")).text() == "caf\u00e9"
            empty = await client.get("/empty")
            assert (empty.status, empty.content) == (204, b"")
            lines = await client.get("/lines", params={"count": 3})
            assert lines.text() == "line 0\nline 1\nline 2\n"
            assert pool_of(client).counts == (1, 1, 0, 0)  # all on one connection

    run(loop_factory, scenario())


def test_requests(loop_factory: LoopFactory) -> None:
    """Every method sends what it is given, and the body arrives, large ones too."""

    async def scenario() -> None:
        async with client_of_shop(fields={"X-Caller": "shop", "X-Kind": "a"}) as client:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                call = getattr(client, method.lower())
                seen = await call("/echo", params={"a": 1}, content=b"x" * 300_000, fields={"X-Kind": "b"}, decode=dict)
                assert (seen["method"], seen["query"], seen["body"]) == (method, "a=1", "x" * 300_000)
                assert (seen["fields"]["x-caller"], seen["fields"]["x-kind"]) == ("shop", "b")
                seen = await call("/echo", fields={"x-caller": "a", "User-Agent": "b", "X-More": "c"}, decode=dict)
                own = {name: seen["fields"].get(name) for name in ("x-caller", "x-kind", "user-agent", "x-more")}
                assert own == {"x-caller": "a", "x-kind": "a", "user-agent": "b", "x-more": "c"}
                seen = await call("/echo", decode=dict)
                assert seen["fields"]["user-agent"].startswith("hasten/")
            seen = await client.post("/echo", json=Price(1, 2), decode=dict)
            assert seen["body"] == '{"item":1,"cents":2}'
            assert (await client.head("/prices/7")).status == 405
            assert (await client.get("/prices/7")).status == 200

    run(loop_factory, scenario())


def test_statuses(loop_factory: LoopFactory) -> None:
    """A status that is none of success is the caller's to look at, or raised with what the service says of it."""

    async def scenario() -> None:
        async with client_of_shop() as client:
            response = await client.get("/missing")
            assert (response.status, response.ok) == (404, False)
            with pytest.raises(HttpStatusError, match="GET /missing: 404 Not Found: No such price: item 7 is not") as e:
                await client.get("/missing", decode=Price)
            assert (e.value.status, e.value.problem["item"], e.value.response.status) == (404, 7, 404)
            assert pickle.loads(pickle.dumps(e.value)).problem == e.value.problem
            moved = await client.get("/moved")
            assert (moved.status, moved.fields["location"]) == (307, "/prices/1")  # not followed
            with pytest.raises(HttpStatusError):
                moved.raise_for_status()
            with pytest.raises(DecodeFailed, match=r"GET /text: the body is no Price: "):
                await client.get("/text", decode=Price)

    run(loop_factory, scenario())


def test_many_at_once(loop_factory: LoopFactory) -> None:
    """More calls than connections are answered, each its own, and in order of their coming."""

    async def scenario() -> None:
        async with client_of_shop(limits=Limits(connections=7)) as client:
            calls = (client.get(f"/prices/{item}", decode=Price) for item in range(100))
            assert [price.item for price in await asyncio.gather(*calls)] == list(range(100))
            opened, idle, connecting, waiting = pool_of(client).counts
            assert opened == idle <= 7
            assert (connecting, waiting) == (0, 0)

    run(loop_factory, scenario())


def test_the_path_of_the_url(loop_factory: LoopFactory) -> None:
    """A path in the URL goes before each target."""

    async def scenario() -> None:
        async with uvicorn_serving(shop()) as port, Client(f"http://127.0.0.1:{port}/prices/") as client:
            assert (await client.get("/7", decode=Price)).item == 7

    run(loop_factory, scenario())


def test_tls(loop_factory: LoopFactory, certificates: Certificates) -> None:
    """Over TLS the server's name is checked, by the authorities that the caller trusts."""

    async def scenario() -> None:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(certificates.server.certificate, certificates.server.key)
        ours = ssl.create_default_context(cafile=certificates.ca)
        async with serving(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), server) as url:
            async with Client(url, ssl=ours) as client:
                assert (await client.get("/")).content == b"ok"
                assert (await client.get("/")).content == b"ok"
            async with Client(url, retry=None) as stranger:
                with pytest.raises(ConnectFailed, match="TLS fails"):
                    await stranger.get("/")

    run(loop_factory, scenario())


def test_signals(loop_factory: LoopFactory) -> None:
    """Hooks are told of each call, whatever way it ends; one that raises harms no call."""

    async def scenario() -> None:
        told: list[HttpCallFinished] = []
        service = Service()
        async with calling_service(service) as client:
            client.add_hook(told.append)
            client.trace(Tracer())
            await client.post("/", content=b"abc")
            assert told[0].host.startswith("127.0.0.1:")
            assert (told[0].method, told[0].status, told[0].error, told[0].attempts) == ("POST", 200, "", 1)
            assert (told[0].sent_bytes, told[0].received_bytes) == (3, 2)
            assert service.fields()["traceparent"] == told[0].traceparent
            service.answer = lambda request, number: b""
            with pytest.raises(Exception, match="closed the connection"):
                await client.post("/")
            assert (told[1].status, told[1].error) == (0, "ConnectionLost")
            service.answer = lambda request, number: b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            async with client.stream("GET", "/") as response:
                await response.read()
            assert (told[2].status, told[2].received_bytes) == (200, 2)

            for _ in range(5):
                client._calls.hosts.every[0].breaker.failed()  # type: ignore[union-attr]
            with pytest.raises(Refused):
                async with client.stream("GET", "/"):
                    pass
            assert (told[3].host, told[3].error, told[3].attempts) == ("", "Refused", 0)

        async with calling_service(service) as client:
            failed: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
            client.add_hook(lambda signal: 1 / 0)  # type: ignore[arg-type]
            assert (await client.get("/")).status == 200
            assert isinstance(failed[0]["exception"], ZeroDivisionError)

    run(loop_factory, scenario())


def test_statistics(loop_factory: LoopFactory) -> None:
    """A client counts the attempts at its hosts by why they were made, and knows who waits for a connection."""

    async def scenario() -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
        answers = {1: response(status=502), 3: head}
        service = Service(lambda request, number: answers.get(number, response()))
        async with calling_service(service, limits=Limits(connections=1)) as client:
            (unused,) = client.statistics().hosts
            assert (unused.limit, unused.first, unused.breaker) == (1, 0, None)
            await client.get("/")
            (host,) = client.statistics().hosts
            assert (host.first, host.retries, host.hedges, host.failures) == (1, 1, 0, 1)
            assert (host.used, host.idle, host.waiting) == (0, 1, 0)
            assert host.breaker is not None
            assert host.breaker.answers == 1
            async with client.stream("GET", "/"):
                waiting = asyncio.create_task(client.get("/"))
                await asyncio.sleep(0)
                (host,) = client.statistics().hosts
                assert (host.first, host.used, host.idle, host.waiting) == (3, 1, 0, 1)
            await waiting

    run(loop_factory, scenario())


def test_statistics_of_what_is_sent_anew(loop_factory: LoopFactory) -> None:
    """A request that meets the end of a kept connection is written again, as no attempt of its own."""

    async def scenario() -> None:
        service = Service(lambda request, number: b"" if number == 2 else response())
        async with calling_service(service) as client:
            await client.get("/")
            assert (await client.get("/")).status == 200
            (host,) = client.statistics().hosts
            assert (host.first, host.retries, host.transparent) == (2, 0, 1)

    run(loop_factory, scenario())


def test_life(loop_factory: LoopFactory) -> None:
    """A client may be made outside of a loop, is of the loop that uses it, and of none when it is closed."""
    client = Client("http://127.0.0.1:1", retry=None)

    async def unreachable() -> None:
        with pytest.raises(ConnectFailed):
            await client.get("/")

    run(loop_factory, unreachable())
    run(loop_factory, unreachable())  # the first loop is closed: it begins anew

    async def closed() -> None:
        await client.aclose()
        await client.aclose()
        with pytest.raises(ConfigurationError, match="is closed"):
            await client.get("/")

    run(loop_factory, closed())


def test_another_loop() -> None:
    """In a second loop that runs at the same time a client says that it is another's."""

    async def scenario() -> None:
        async with Client(refused_url(), retry=None) as client:
            with pytest.raises(ConnectFailed):
                await client.get("/")

            def elsewhere() -> None:
                with pytest.raises(ConfigurationError, match="two event loops"):
                    asyncio.run(client.request("GET", "/"))

            await asyncio.to_thread(elsewhere)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ([], {}),
        ("http://a", {"timeout": 0}),
        ("http://a", {"timeout": float("nan")}),
        ("http://a", {"hedge": 0.5}),
        ("http://a", {"fields": {"X": "\n"}}),
    ],
)
def test_wrong_values(url: Any, options: Any) -> None:
    """A wrong value is refused when the client is made."""
    with pytest.raises(ConfigurationError):
        Client(url, **options)


def test_wrong_limits() -> None:
    """Limits are positive."""
    with pytest.raises(ConfigurationError):
        Limits(connections=0)


def test_ledger(loop_factory: LoopFactory) -> None:
    """The ledger names the wait for a call by its method and host, and tells calls apart by their targets."""

    async def scenario() -> None:
        async with serving(answering(response())) as url, Client(url) as client:
            app = FastAPI()

            @app.get("/page")
            async def page() -> None:
                await client.get("/prices/7")
                await client.post("/prices", json=8)

            async with ledger_serving(app) as served:
                await served.ask_one("/page")
        account = served.account("GET /page")
        name = url.removeprefix("http://")
        libraries = {line.site.library for line in account.lines if line.kind is Kind.WAITING}
        assert libraries == {f"http GET → {name}", f"http POST → {name}"}
        assert [call.identity for call in account.calls] == ["/prices/7", "/prices b'8'"]

    run(loop_factory, scenario())

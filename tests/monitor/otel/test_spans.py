"""What a collector gets of a request, of the calls that it makes, and of the messages that come of it."""

import asyncio
import math
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import hasten.rpc
from hasten._core.ambient import AMBIENT, Carried
from hasten.events import Batch, Bus, Message, RetryPolicy
from hasten.events.outbox import Outbox, Relay, SqliteDatabase
from hasten.monitor.otel import Otlp
from tests.conftest import LoopFactory
from tests.http.client.services import Service, calling_service, response
from tests.monitor.otel.collector import Collector, attributes
from tests.monitor.otel.shop import METHOD, TOPIC, Shop, telling
from tests.monitor.test_trace import SPAN, TRACE, TRACEPARENT, UNSAMPLED

SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
REQUEST, RPC = "GET /buy/{item}", METHOD.removeprefix("/")
QUICKLY = RetryPolicy(3, first=0.001, longest=0.001)


def every(collector: Collector) -> Otlp:
    """Return a setting by which every trace is recorded."""
    return Otlp(collector.url, ratio=1.0)


async def bought(shop: Shop, item: str = "7", **headers: str) -> int:
    """Buy something, and return the status of the answer; what it sets going is handled then."""
    async with shop:
        answer = await shop.client.get(f"/buy/{item}?card=secret", headers=headers)
        if answer.is_success:
            await shop.handled.wait()
    return answer.status_code


def chain(collector: Collector) -> list[Span]:
    """Return the spans of one purchase, the outermost first."""
    return [
        collector.span(REQUEST),
        collector.span(RPC, CLIENT),
        collector.span(RPC, SERVER),
        collector.span(f"publish {TOPIC}"),
        collector.span(f"process {TOPIC}"),
    ]


def test_a_request_and_all_that_comes_of_it_are_one_trace(collector: Collector, loop_factory: LoopFactory) -> None:
    """The request, the call, its handler, the message and its handler are five spans, each within the one before."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(bought(Shop(every(collector))))
    spans = chain(collector)
    assert len(collector.spans) == 5
    assert len({span.trace_id for span in spans}) == 1
    assert spans[0].parent_span_id == b""
    assert [span.parent_span_id for span in spans[1:]] == [span.span_id for span in spans[:-1]]
    assert len({span.span_id for span in spans}) == 5


def test_spans_have_the_times_at_which_it_happened(collector: Collector) -> None:
    """Each begins before it ends, after the test has begun, and ends before it has; times are Unix time."""
    before = time.time_ns()
    asyncio.run(bought(Shop(every(collector))))
    after = time.time_ns()
    for span in chain(collector):
        assert before - 1_000_000 <= span.start_time_unix_nano  # a millisecond for the two clocks
        assert span.start_time_unix_nano < span.end_time_unix_nano <= after


def test_a_caller_s_trace_is_gone_on_with(collector: Collector) -> None:
    """A request whose caller records it is within the caller's span, whatever the ratio, with its tracestate."""
    asyncio.run(bought(Shop(Otlp(collector.url, ratio=0.0)), traceparent=TRACEPARENT, tracestate="vendor=1"))
    request = collector.span(REQUEST)
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    assert request.trace_state == "vendor=1"
    assert len(collector.spans) == 5
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}


def test_what_a_caller_does_not_record_is_not_recorded(collector: Collector) -> None:
    """Neither is a trace that begins here and is not chosen; but all carry a trace on."""
    shop = Shop(every(collector))
    asyncio.run(bought(shop, traceparent=UNSAMPLED))
    assert shop.traceparents == [UNSAMPLED]
    shop = Shop(Otlp(collector.url, ratio=0.0))
    asyncio.run(bought(shop))
    assert shop.traceparents[0].endswith("-00")
    assert collector.spans == []
    assert "http.server.request.duration" in collector.metrics


def test_without_a_collector_traces_are_passed_on_as_they_came() -> None:
    """No span of ours comes between the caller and those that are called."""

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def reserve(request: bytes, context: Any) -> bytes:
            seen.extend(str(value) for key, value in context.invocation_metadata() if key == "traceparent")
            return b""

        shop = Shop(None)
        shop.server.add_registered_method_handlers(
            "shop.Stock", {"Reserve": grpc.unary_unary_rpc_method_handler(reserve)}
        )
        async with shop:
            (await shop.client.get("/buy/7", headers={"traceparent": TRACEPARENT})).raise_for_status()
        return seen

    assert asyncio.run(scenario()) == [TRACEPARENT]


def test_what_is_said_of_a_request(collector: Collector) -> None:
    """Its attributes are the semantic conventions'; its query is not among them."""
    asyncio.run(bought(Shop(every(collector)), **{"user-agent": "shopper/1"}))
    request = collector.span(REQUEST)
    assert request.kind == SERVER
    assert attributes(request.attributes) == {
        "http.request.method": "GET",
        "http.route": "/buy/{item}",
        "http.response.status_code": 200,
        "url.path": "/buy/7",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "shop",
        "server.port": 8000,
        "client.address": "127.0.0.1",
        "user_agent.original": "shopper/1",
    }
    assert "secret" not in str(collector.spans)


def test_what_is_said_of_calls_and_messages(collector: Collector) -> None:
    """Their attributes are the semantic conventions', with what hasten alone knows beside."""
    asyncio.run(bought(Shop(every(collector))))
    _, client, server, publishing, handling = [attributes(span.attributes) for span in chain(collector)]
    port = client.pop("server.port")
    assert client.pop("server.address") == "127.0.0.1"
    assert port > 0
    call = {"rpc.system.name": "grpc", "rpc.method": RPC, "rpc.response.status_code": "OK"}
    assert client == {
        **call,
        "hasten.rpc.attempt": "first",
        "hasten.rpc.sent_bytes": 1,
        "hasten.rpc.received_bytes": 8,
    }
    assert {name: server[name] for name in call} == call
    message = {"messaging.system": "memory", "messaging.destination.name": TOPIC}
    assert {name: publishing[name] for name in message} == message
    assert publishing["messaging.operation.type"] == "send"
    assert handling["messaging.consumer.group.name"] == "mail"
    assert handling["hasten.event.attempt"] == 1


def test_errors_are_said(collector: Collector) -> None:
    """A 503, and a client's view of a call that was refused, are errors by their kind; a 404 is the caller's."""

    async def scenario() -> None:
        async with Shop(every(collector)) as shop:
            await shop.client.get("/buy/nothing")
            await shop.client.get("/nowhere")
            with pytest.raises(grpc.aio.AioRpcError):
                await shop.channel.unary_unary("/shop.Stock/Steal")(b"")

    asyncio.run(scenario())
    request = collector.span(REQUEST)
    assert (request.status.code, attributes(request.attributes)["error.type"]) == (Status.STATUS_CODE_ERROR, "503")
    nowhere = collector.span("GET")
    assert nowhere.status.code == Status.STATUS_CODE_UNSET
    call = collector.span("shop.Stock/Steal", CLIENT)
    assert attributes(call.attributes)["error.type"] == "UNIMPLEMENTED"


def test_a_request_that_the_ledger_records_says_where_its_time_went(collector: Collector) -> None:
    """Its span has an event for each line of its account, with kind, site and seconds, at a time within the span."""
    asyncio.run(bought(Shop(every(collector), sample_every=1)))
    request = collector.span(REQUEST)
    events = [attributes(event.attributes) for event in request.events]
    assert {"computing", "waiting"} <= {event["hasten.kind"] for event in events}
    assert any("Stock.Reserve" in event.get("hasten.library", "") for event in events)
    assert any(event.get("code.file.path", "").endswith("shop.py") for event in events)
    wall = (request.end_time_unix_nano - request.start_time_unix_nano) / 1e9
    assert sum(event["hasten.seconds"] for event in events) >= wall - 0.0001  # the account begins before and ends after
    for event in request.events:
        assert request.start_time_unix_nano <= event.time_unix_nano <= request.end_time_unix_nano + 1_000_000


def test_a_message_s_attempts_are_spans_of_their_own(collector: Collector) -> None:
    """Each time that a message is handled is a span within its publishing; what failed is an error."""
    failures = [ValueError("once"), ValueError("twice")]

    async def handle() -> None:
        if failures:
            raise failures.pop()

    asyncio.run(bought(Shop(every(collector), handle=handle, retry=QUICKLY)))
    publishing = collector.span(f"publish {TOPIC}")
    tries = [span for span in collector.spans if span.name == f"process {TOPIC}"]
    assert [span.parent_span_id for span in tries] == [publishing.span_id] * 3
    assert [span.status.code for span in tries] == [Status.STATUS_CODE_ERROR] * 2 + [Status.STATUS_CODE_UNSET]
    assert [attributes(span.attributes)["hasten.event.attempt"] for span in tries] == [1, 2, 3]


@pytest.mark.parametrize("ordered", [False, True])
def test_what_a_handler_does_is_within_its_own_attempt(collector: Collector, ordered: bool) -> None:  # noqa: FBT001
    """A message that a handler publishes at its second attempt is within that attempt's span, in its place or not."""

    async def scenario() -> None:
        bus, done = Bus("memory://"), asyncio.Event()

        @bus.subscribe("first", group="g", retry=QUICKLY, ordered=ordered)
        async def first(order: dict[str, int], message: Message) -> None:
            if message.attempt == 1:
                raise ValueError("not yet")
            await bus.publish("second", {})

        @bus.subscribe("second", group="g")
        async def second(order: dict[str, int]) -> None:
            done.set()

        async with telling(every(collector), bus), bus:
            await bus.publish("first", {}, key="k")
            await done.wait()

    asyncio.run(scenario())
    tries = [span for span in collector.spans if span.name == "process first"]
    assert len(tries) == 2
    assert collector.span("publish second").parent_span_id == tries[1].span_id
    assert len({span.trace_id for span in collector.spans}) == 1


def test_the_messages_of_a_batch(collector: Collector) -> None:
    """Each message of a batch gets a span within its publishing; what is sent for several traces begins one."""

    async def scenario() -> None:
        bus, done = Bus("memory://"), asyncio.Event()

        @bus.subscribe("many", group="g", batch=Batch(most=2, wait=10.0))
        async def many(orders: list[dict[str, int]]) -> None:
            await bus.publish("sum", {})

        @bus.subscribe("sum", group="g")
        async def total(order: dict[str, int]) -> None:
            done.set()

        async with telling(every(collector), bus), bus:
            await bus.publish("many", {})
            await bus.publish("many", {})
            await done.wait()

    asyncio.run(scenario())
    published = {span.span_id: span.trace_id for span in collector.spans if span.name == "publish many"}
    handled = {span.parent_span_id: span.trace_id for span in collector.spans if span.name == "process many"}
    assert handled == published
    assert len(set(published.values())) == 2
    assert collector.span("publish sum").parent_span_id == b""


def test_a_message_that_went_by_an_outbox(collector: Collector, tmp_path: Path) -> None:
    """Its publishing, by the relay, is within the span that it was added in, and its handling within that."""
    outbox = Outbox(SqliteDatabase(tmp_path / "shop.db"))
    token = AMBIENT.set(Carried(math.inf, TRACEPARENT))
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        outbox.create_sync(connection)
        outbox.add_sync(connection, "later", {})
    AMBIENT.reset(token)

    async def scenario() -> None:
        bus, done = Bus("memory://"), asyncio.Event()

        @bus.subscribe("later", group="g")
        async def later(order: dict[str, int]) -> None:
            done.set()

        async with telling(every(collector), bus), bus, Relay(outbox, bus, poll=0.01):
            await done.wait()

    asyncio.run(scenario())
    publishing, handling = collector.span("publish later"), collector.span("process later")
    assert (publishing.trace_id.hex(), publishing.parent_span_id.hex()) == (TRACE, SPAN)
    assert (handling.trace_id, handling.parent_span_id) == (publishing.trace_id, publishing.span_id)


def test_a_retried_call_s_attempts_are_spans_of_their_own(collector: Collector) -> None:
    """Each attempt of a call has a span, which the server's span of that attempt is within."""
    failures = [grpc.StatusCode.UNAVAILABLE] * 2
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.001s",
        "maxBackoff": "0.001s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": retry}]}

    async def flaky(request: bytes, context: Any) -> bytes:
        if failures:
            await context.abort(failures.pop(), "not yet")
        return b"done"

    async def scenario() -> None:
        server = hasten.rpc.Server()
        server.add_registered_method_handlers("shop.Stock", {"Flaky": grpc.unary_unary_rpc_method_handler(flaky)})
        place = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        channel = hasten.rpc.Channel(place, service_config=config)
        async with telling(every(collector), server, channel):
            await server.start()
            async with channel:
                assert await channel.unary_unary("/shop.Stock/Flaky")(b"") == b"done"
            await server.stop(None)

    asyncio.run(scenario())
    clients = [span for span in collector.spans if span.kind == CLIENT]
    servers = [span for span in collector.spans if span.kind == SERVER]
    assert sorted(span.parent_span_id for span in servers) == sorted(span.span_id for span in clients)
    assert [attributes(span.attributes)["hasten.rpc.attempt"] for span in clients] == ["first", "retry", "retry"]
    assert len({span.span_id for span in clients}) == 3


def test_http_calls(collector: Collector) -> None:
    """A call by HTTP is one span with all its attempts, without its target; one that somebody else traces is none."""

    async def scenario() -> tuple[list[str], int]:
        service = Service(lambda request, number: response(status=503 if number == 1 else 404))
        async with calling_service(service) as client, telling(every(collector), client):
            await client.get("/items/7?card=secret")
            await client.get("/", fields={"traceparent": TRACEPARENT})
            sent = [service.fields(number)["traceparent"] for number in range(3)]
            return sent, client.statistics().hosts[0].port

    sent, port = asyncio.run(scenario())
    (span,) = collector.spans
    assert (span.name, span.kind, span.status.code) == ("GET", CLIENT, Status.STATUS_CODE_ERROR)
    assert attributes(span.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "http.request.resend_count": 1,
        "http.request.body.size": 0,
        "http.response.body.size": 2,
        "server.address": "127.0.0.1",
        "server.port": port,
        "error.type": "404",
    }
    assert [traceparent[36:52] for traceparent in sent] == [span.span_id.hex()] * 2 + [SPAN]


def test_a_call_that_somebody_else_traces(collector: Collector) -> None:
    """A call whose metadata has a traceparent is left alone: that is what goes out, and no span is made of it."""

    async def scenario() -> None:
        async with Shop(every(collector)) as shop:
            await shop.channel.unary_unary(METHOD)(b"7", metadata=(("traceparent", TRACEPARENT),))
            await shop.handled.wait()

    asyncio.run(scenario())
    server = collector.span(RPC)
    assert (server.kind, server.trace_id.hex(), server.parent_span_id.hex()) == (SERVER, TRACE, SPAN)


@pytest.mark.parametrize("kind", ["unary_stream", "stream_unary", "stream_stream"])
def test_streams(collector: Collector, kind: str) -> None:
    """A call of each kind with a stream is a span on both sides, the server's within the client's."""

    async def requests() -> Any:
        yield b"a"
        yield b"b"

    async def responses(request: Any, context: Any) -> Any:
        if hasattr(request, "__aiter__"):
            async for _ in request:
                pass
        yield b"1"

    async def response(request: Any, context: Any) -> bytes:
        async for _ in request:
            pass
        return b"1"

    async def scenario() -> None:
        server = hasten.rpc.Server()
        behaviour = response if kind == "stream_unary" else responses
        handler = getattr(grpc, f"{kind}_rpc_method_handler")(behaviour)
        server.add_registered_method_handlers("shop.Stock", {"Flow": handler})
        channel = hasten.rpc.Channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        async with telling(every(collector), server, channel):
            await server.start()
            async with channel:
                call = getattr(channel, kind)("/shop.Stock/Flow")(b"" if kind == "unary_stream" else requests())
                if kind == "stream_unary":
                    assert await call == b"1"
                else:
                    assert [each async for each in call] == [b"1"]
            await server.stop(None)

    asyncio.run(scenario())
    client, server = collector.span("shop.Stock/Flow", CLIENT), collector.span("shop.Stock/Flow", SERVER)
    assert (server.trace_id, server.parent_span_id) == (client.trace_id, client.span_id)


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"ff{TRACEPARENT[2:]}", "00-" + 200 * "a", "\xff\xfe"])
def test_a_server_that_gets_a_malformed_trace_begins_one(collector: Collector, traceparent: str) -> None:
    """The request is answered as always, and its span has no parent."""

    async def scenario() -> int:
        async with Shop(every(collector)) as shop:
            fields = [(b"traceparent", traceparent.encode("latin-1"))]
            return (await shop.client.get("/buy/7", headers=fields)).status_code

    assert asyncio.run(scenario()) == 200
    assert collector.span(REQUEST).parent_span_id == b""

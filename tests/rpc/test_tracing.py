"""Calls as spans: what goes out, and what hooks are told, where a tracer was given and where none was."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import hasten.rpc
from hasten._core.ambient import AMBIENT, Carried
from hasten._core.tracing import Tracer, checked_traceparent, span_id_of, trace_id_of
from hasten.resilience import deadline
from hasten.rpc import CallFinished, CallSignal

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
STATE = "vendor=1,other=2"
Fields = dict[str, str]
Work = Callable[[hasten.rpc.Channel], Awaitable[object]]


class Back:
    """A service that notes what each call brought.

    Attributes:
      fields: Of the trace, of each call.
    """

    def __init__(self) -> None:
        self.fields: list[Fields] = []
        self.answers: list[grpc.StatusCode] = []
        self.held = asyncio.Event()

    async def note(self, request: bytes, context: Any) -> bytes:
        """Answer a call: with the next of `answers`, or well."""
        self.fields.append({str(key): str(value) for key, value in context.invocation_metadata() if "trace" in key})
        if request == b"hold" and len(self.fields) == 1:
            await self.held.wait()
        if self.answers:
            await context.abort(self.answers.pop(0), "")
        return b""


@asynccontextmanager
async def serving(
    back: Back, told: list[CallSignal], *, client: Tracer | None, server: Tracer | None, **options: Any
) -> AsyncIterator[hasten.rpc.Channel]:
    """Yield a channel to a service, each side traced or not; both tell their ends."""

    def note(signal: CallSignal) -> None:
        if isinstance(signal, CallFinished):
            told.append(signal)

    rpc_server = hasten.rpc.Server(hooks=[note])
    if server is not None:
        rpc_server.trace(server)
    handlers: dict[str, Any] = {"Note": grpc.unary_unary_rpc_method_handler(back.note)}
    rpc_server.add_registered_method_handlers("t.T", handlers)
    channel = hasten.rpc.Channel(f"127.0.0.1:{rpc_server.add_insecure_port('127.0.0.1:0')}", hooks=[note], **options)
    if client is not None:
        channel.trace(client)
    await rpc_server.start()
    try:
        async with channel:
            yield channel
    finally:
        await rpc_server.stop(None)


def told_of(
    work: Work,
    *,
    client: Tracer | None = None,
    server: Tracer | None = None,
    back: Callable[[], Back] = Back,
    **options: Any,
) -> tuple[list[Fields], list[CallFinished], list[CallFinished]]:
    """Return what calls brought to the service, and what the client's and the server's hooks were told."""

    async def scenario() -> tuple[list[Fields], list[Any]]:
        told: list[Any] = []
        made = back()
        async with serving(made, told, client=client, server=server, **options) as channel:
            await work(channel)
            made.held.set()
        return made.fields, told

    fields, told = asyncio.run(scenario())
    return fields, [each for each in told if each.side == "client"], [each for each in told if each.side == "server"]


def call(traceparent: str, request: bytes = b"", **options: Any) -> Work:
    """Return what calls the service on behalf of a request with a trace."""

    async def work(channel: hasten.rpc.Channel) -> None:
        AMBIENT.set(Carried(math.inf, traceparent))
        await channel.unary_unary("/t.T/Note")(request, **options)

    return work


def test_without_a_tracer_the_trace_is_passed_on() -> None:
    """It goes out as it came, and signals say nothing of it."""
    fields, sent, answered = told_of(call(TRACEPARENT))
    assert fields == [{"traceparent": TRACEPARENT}]
    assert [(each.traceparent, each.parent) for each in (*sent, *answered)] == [("", "")] * 2


def test_a_traced_call() -> None:
    """What goes out is the attempt's own span within the request's, and the server's is within that."""
    fields, (sent,), (answered,) = told_of(call(TRACEPARENT), client=Tracer(), server=Tracer(0.0))
    assert fields == [{"traceparent": sent.traceparent}]
    assert (trace_id_of(sent.traceparent), sent.parent) == (TRACE, SPAN)
    assert (trace_id_of(answered.traceparent), answered.parent) == (TRACE, span_id_of(sent.traceparent))
    assert len({SPAN, span_id_of(sent.traceparent), span_id_of(answered.traceparent)}) == 3


def test_a_trace_that_is_not_recorded_stays_as_it_is() -> None:
    """Neither side begins a span in it."""
    fields, (sent,), (answered,) = told_of(call(UNSAMPLED), client=Tracer(), server=Tracer())
    assert fields == [{"traceparent": UNSAMPLED}]
    assert sent.traceparent == answered.traceparent == UNSAMPLED


def test_a_call_outside_of_a_request_begins_a_trace() -> None:
    """A client's call gets a trace of its own, and goes out with it."""
    fields, (sent,), (answered,) = told_of(call(""), client=Tracer(), server=Tracer())
    assert fields == [{"traceparent": sent.traceparent}]
    assert sent.parent == ""
    assert trace_id_of(answered.traceparent) == trace_id_of(sent.traceparent) != ""


@pytest.mark.parametrize("traced", [False, True])
def test_a_user_s_own_traceparent(traced: bool) -> None:  # noqa: FBT001  a case, not a switch
    """One in the metadata is what goes out, alone, traced or not; the attempt is no span then."""
    own = f"00-{TRACE}-{'1' * 16}-01"
    work = call(TRACEPARENT, metadata=(("traceparent", own),))
    fields, (sent,), _ = told_of(work, client=Tracer() if traced else None)
    assert fields == [{"traceparent": own}]
    assert sent.traceparent == ""


def test_each_retry_is_a_span() -> None:
    """All attempts of a call are within the request's span, and each goes out with its own."""
    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.001s",
        "maxBackoff": "0.001s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }

    def flaky() -> Back:
        back = Back()
        back.answers = [grpc.StatusCode.UNAVAILABLE] * 2
        return back

    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    fields, sent, _ = told_of(call(TRACEPARENT), client=Tracer(), back=flaky, service_config=config)
    assert [each.attempt for each in sent] == ["first", "retry", "retry"]
    assert fields == [{"traceparent": each.traceparent} for each in sent]
    assert {each.parent for each in sent} == {SPAN}
    assert len({each.traceparent for each in sent}) == 3


def test_each_hedge_is_a_span() -> None:
    """A hedge goes out with a span of its own beside the first attempt's."""
    config = {"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.001s"}}]}
    fields, sent, _ = told_of(call(TRACEPARENT, b"hold"), client=Tracer(), service_config=config)
    assert {each.attempt for each in sent} == {"first", "hedge"}
    assert sorted(each["traceparent"] for each in fields) == sorted(each.traceparent for each in sent)
    assert len(fields) == 2
    assert {each.parent for each in sent} == {SPAN}


@pytest.mark.parametrize("incoming", ["nonsense", f"{TRACEPARENT}-more", "00-", TRACEPARENT.upper()])
def test_a_malformed_trace_that_comes_in(incoming: str) -> None:
    """A server that traces begins a trace instead; one that does not leaves it to who traces."""
    _, _, (answered,) = told_of(call(incoming), server=Tracer())
    assert checked_traceparent(answered.traceparent) == answered.traceparent != ""
    assert answered.parent == ""
    assert trace_id_of(answered.traceparent) != TRACE


@pytest.mark.parametrize("traced", [False, True])
def test_a_tracestate_is_carried_on(traced: bool) -> None:  # noqa: FBT001  a case, not a switch
    """From one call to the next, within a deadline, too; without a trace there is nothing to carry."""

    async def scenario(traceparent: str) -> list[Fields]:
        back, front, told = Back(), hasten.rpc.Server(), list[CallSignal]()
        async with serving(back, told, client=Tracer() if traced else None, server=None) as behind:

            async def onward(request: bytes, context: Any) -> bytes:
                async with deadline(30.0):
                    answer: bytes = await behind.unary_unary("/t.T/Note")(b"")
                return answer

            handlers: dict[str, Any] = {"Onward": grpc.unary_unary_rpc_method_handler(onward)}
            front.add_registered_method_handlers("t.F", handlers)
            place = f"127.0.0.1:{front.add_insecure_port('127.0.0.1:0')}"
            await front.start()
            fields = [("tracestate", STATE)] + [("traceparent", traceparent)] * bool(traceparent)
            async with hasten.rpc.Channel(place) as channel:
                await channel.unary_unary("/t.F/Onward")(b"", metadata=fields)
            await front.stop(None)
        return back.fields

    (fields,) = asyncio.run(scenario(TRACEPARENT))
    assert fields["tracestate"] == STATE
    assert trace_id_of(fields["traceparent"]) == TRACE
    (fields,) = asyncio.run(scenario(""))
    assert "tracestate" not in fields

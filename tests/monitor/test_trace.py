"""What a request carries along: its trace and its id, in and out."""

import asyncio
import math
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from hasten._core.ambient import AMBIENT, Carried
from hasten._core.tracing import Tracer, checked_traceparent, is_sampled, span_id_of, trace_id_of
from hasten.monitor import outgoing_headers
from hasten.monitor._trace import Incoming
from hasten.resilience import deadline
from tests.monitor.apps import answered, app_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"


def incoming(**fields: str) -> Incoming | None:
    """Return what a request with these fields carries along; underscores stand for dashes."""
    return Incoming.of([(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()])


# ---- as the specification has it


def test_a_well_formed_traceparent_is_taken_as_it_is() -> None:
    """The trace, the span and whether it is recorded are those that the caller said."""
    came = incoming(traceparent=TRACEPARENT)
    assert came is not None
    assert (came.traceparent, came.trace_id, came.sampled) == (TRACEPARENT, TRACE, True)


def test_malformed_traceparents_are_none() -> None:
    """Upper case, zeros, a wrong length, version ff, and version 00 with something behind it are no trace."""
    for wrong in (
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"{TRACEPARENT}-more",
        f"{TRACEPARENT}\n",
        TRACEPARENT[:-1],
        f"0{TRACEPARENT}",
        "",
    ):
        assert checked_traceparent(wrong) == "", wrong


def test_a_later_version_is_taken_for_what_is_known_of_it() -> None:
    """Of a version that is not known, the fields of version 00 are taken, and passed on as version 00."""
    assert checked_traceparent(f"cc-{TRACE}-{SPAN}-01") == TRACEPARENT
    assert checked_traceparent(f"cc-{TRACE}-{SPAN}-01-what-the-future\xff-brings") == TRACEPARENT
    assert checked_traceparent(f"cc-{TRACE}-{SPAN}-01.what") == ""


def test_several_traceparents_are_none_and_several_tracestates_one() -> None:
    """A request with two traceparent fields has no trace; its tracestate fields are a list in parts."""
    twice = [(b"traceparent", TRACEPARENT.encode())] * 2
    came = Incoming.of([*twice, (b"x-request-id", b"7")])
    assert came is not None
    assert came.traceparent == ""
    came = Incoming.of([*twice[:1], (b"tracestate", b"a=1"), (b"tracestate", b"b=2")])
    assert came is not None
    assert came.tracestate == "a=1,b=2"


def test_a_tracestate_without_a_trace_is_dropped() -> None:
    """So it is beside a malformed traceparent, and when it is longer than everybody must take."""
    for fields in (
        {"traceparent": "nothing", "tracestate": "a=1", "x_request_id": "7"},
        {"tracestate": "a=1", "x_request_id": "7"},
        {"traceparent": TRACEPARENT, "tracestate": "a=" + 511 * "1"},
    ):
        came = incoming(**fields)
        assert came is not None
        assert came.tracestate == ""


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"traceparent", b"tracestate", b"x-request-id", b"host"]),
            st.binary(max_size=80)
            | st.sampled_from([TRACEPARENT.encode(), b"cc-" + TRACEPARENT[3:].encode() + b"-\xff"]),
        ),
        max_size=6,
    )
)
def test_hostile_fields(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever fields come, nothing is raised, and what is passed on is well-formed, printable and bounded."""
    came = Incoming.of(headers)
    if came is not None:
        assert came.traceparent == checked_traceparent(came.traceparent)
        for text in (came.tracestate, came.request_id):
            assert text.isascii()
            assert text.isprintable() or not text
            assert len(text) <= 512


# ---- spans


@given(st.text(max_size=80) | st.sampled_from([TRACEPARENT, UNSAMPLED]), st.floats(0.0, 1.0))
def test_a_span_begins_within_whatever_came(parent: str, ratio: float) -> None:
    """A recorded parent gets a child in its trace; an unrecorded one stays as it is; anything else is a new trace."""
    own, around = Tracer(ratio).begin(parent)
    assert own == checked_traceparent(own) != ""
    if parent == TRACEPARENT:
        assert (trace_id_of(own), around, is_sampled(own)) == (TRACE, SPAN, True)
        assert span_id_of(own) != SPAN
    elif parent == UNSAMPLED:
        assert (own, around) == (UNSAMPLED, "")
    elif not checked_traceparent(parent):
        assert around == ""


def test_the_ratio_decides_by_the_trace_s_id() -> None:
    """Of traces that begin here the share that was asked for is recorded: all, none, or by the id's lower half."""
    assert is_sampled(Tracer(1.0).begin("")[0])
    assert not is_sampled(Tracer(0.0).begin("")[0])
    assert is_sampled(Tracer(0.5, lambda bits: (1 << (bits - 1)) | ((1 << 63) - 1)).begin("")[0])
    assert not is_sampled(Tracer(0.5, lambda bits: (1 << (bits - 1)) | (1 << 63)).begin("")[0])
    recorded = sum(is_sampled(Tracer(0.1).begin("")[0]) for _ in range(10_000))
    assert 800 <= recorded <= 1200


def test_a_span_keeps_the_flags_that_are_known() -> None:
    """A trace that is recorded stays so, and one whose id is random; what later versions say is not passed on."""
    assert [Tracer().begin(f"{TRACEPARENT[:-2]}{flags}")[0][-2:] for flags in ("01", "03", "ff")] == ["01", "03", "03"]


def test_ids_are_never_zero() -> None:
    """A source of random bits that gives zeros makes a well-formed traceparent all the same."""
    own, _ = Tracer(1.0, lambda _: 0).begin("")
    assert checked_traceparent(own) == own
    own, _ = Tracer(1.0, lambda _: 0).begin(TRACEPARENT)
    assert checked_traceparent(own) == own


# ---- out


def test_outgoing_headers_carry_what_came() -> None:
    """In a request, its trace with the state and its id go out, also from a thread and within a deadline."""

    async def endpoint() -> list[dict[str, str]]:
        found = [outgoing_headers(), await asyncio.to_thread(outgoing_headers)]
        async with deadline(5.0):
            return [*found, outgoing_headers()]

    fields = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "x-request-id": "r-7"}
    assert answered(endpoint, fields) == [fields] * 3


def test_an_app_that_is_called_within_a_request() -> None:
    """When it has answered, its caller carries on what he did before: his trace, and his deadline."""

    async def scenario() -> tuple[object, object]:
        async def endpoint() -> None:
            return None

        transport = httpx.ASGITransport(app=app_of(endpoint))
        before = Carried(math.inf, UNSAMPLED)
        AMBIENT.set(before)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            (await client.get("/items/7", headers={"traceparent": TRACEPARENT})).raise_for_status()
        return before, AMBIENT.get()

    before, after = asyncio.run(scenario())
    assert after is before


def test_outgoing_headers_where_nothing_came() -> None:
    """Outside of a request, and in one that says nothing, there is nothing to send."""

    async def endpoint() -> dict[str, str]:
        return outgoing_headers()

    assert outgoing_headers() == {}
    assert answered(endpoint, {}) == {}
    assert answered(endpoint, {"x-request-id": "r-7"}) == {"x-request-id": "r-7"}


def test_outgoing_headers_of_other_work() -> None:
    """Of a message or a call only its trace is known; one that is not well-formed does not go out."""

    def headers(traceparent: str) -> Any:
        token = AMBIENT.set(Carried(math.inf, traceparent))
        try:
            return outgoing_headers()
        finally:
            AMBIENT.reset(token)

    assert headers(TRACEPARENT) == {"traceparent": TRACEPARENT}
    assert headers("a\r\nset-cookie: b") == {}

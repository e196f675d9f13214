"""Traces that are asked for: known by their id alone, whoever carries them, and nothing begins in others."""

import random

from hypothesis import given
from hypothesis import strategies as st

from hasten._core.tracing import (
    AskedTracer,
    Tracer,
    asked_traceparent,
    checked_traceparent,
    is_asked,
    is_sampled,
    span_id_of,
    trace_id_of,
)

OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(st.randoms(use_true_random=False))
def test_an_asked_trace_is_well_formed(source: random.Random) -> None:
    """It is a traceparent that everybody takes and records, and known for what it is."""
    traceparent = asked_traceparent(source.getrandbits)
    assert checked_traceparent(traceparent) == traceparent
    assert is_sampled(traceparent)
    assert is_asked(traceparent)


def test_no_bits_are_no_zeros() -> None:
    """An id is never all zeros, which would be none."""
    assert checked_traceparent(asked_traceparent(lambda _: 0))


def test_work_within_it_is_a_span() -> None:
    """A span begins within it, of the same trace, and what is within that is asked for, too."""
    asked = asked_traceparent()
    tracer = AskedTracer()
    assert tracer.wants(asked)
    traceparent, parent = tracer.begin(asked)
    assert trace_id_of(traceparent) == trace_id_of(asked)
    assert parent == span_id_of(asked) != span_id_of(traceparent)
    assert is_asked(traceparent)


def test_in_others_nothing_begins() -> None:
    """A trace that somebody else records, and no trace, are passed on as they are."""
    tracer = AskedTracer()
    for traceparent in (OTHER, "", "nothing"):
        assert not tracer.wants(traceparent)
        assert tracer.begin(traceparent) == (traceparent, "")
    assert Tracer().wants("")

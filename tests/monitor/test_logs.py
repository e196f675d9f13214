"""Log records say which request they belong to."""

import asyncio
import io
import json
import logging
import logging.handlers
import math
import queue
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from hasten._core.ambient import AMBIENT, Carried
from hasten.monitor import add_trace, trace_logs
from hasten.resilience import deadline
from tests.monitor.apps import answered
from tests.monitor.test_trace import SPAN, TRACE, TRACEPARENT

FORMAT = "%(levelname)s %(message)s [%(trace_id)s %(span_id)s %(request_id)s]"
FIELDS = {"traceparent": TRACEPARENT, "x-request-id": "r-7"}
WHOLE = f"[{TRACE} {SPAN} r-7]"


@pytest.fixture
def factory() -> Iterator[None]:
    """Put the factory of log records back after the test."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def written(factory: None) -> Iterator[io.StringIO]:
    """Return what a logger of its own writes, with ids."""
    trace_logs()
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger("tests.shop")
    logger.addHandler(handler)
    logger.propagate = False
    yield text
    logger.removeHandler(handler)


def log(message: str) -> None:
    """Log something, as an app does."""
    logging.getLogger("tests.shop").warning(message)


def test_a_request_s_records_have_its_ids(written: io.StringIO) -> None:
    """So have those of its tasks and threads, and those within a deadline."""

    async def endpoint() -> None:
        log("one")
        await asyncio.create_task(asyncio.to_thread(log, "two"))
        async with deadline(5.0):
            log("three")

    answered(endpoint, FIELDS)
    assert written.getvalue().splitlines() == [f"WARNING {each} {WHOLE}" for each in ("one", "two", "three")]


def test_records_outside_of_requests(written: io.StringIO) -> None:
    """A format that names the ids works where there are none: they are empty."""
    log("begins")
    assert written.getvalue() == "WARNING begins [  ]\n"


def test_records_that_another_thread_writes(factory: None) -> None:
    """A record keeps its ids when a queue takes it to a thread that knows of no request."""
    trace_logs()
    text, waiting = io.StringIO(), queue.SimpleQueue[Any]()
    writer = logging.StreamHandler(text)
    writer.setFormatter(logging.Formatter(FORMAT))
    behind = logging.handlers.QueueHandler(waiting)
    logger = logging.getLogger("tests.shop.queued")
    logger.addHandler(behind)
    listener = logging.handlers.QueueListener(waiting, writer)
    listener.start()

    async def endpoint() -> None:
        logger.warning("queued")

    try:
        answered(endpoint, FIELDS)
    finally:
        listener.stop()
        logger.removeHandler(behind)
    assert text.getvalue() == f"WARNING queued {WHOLE}\n"


def test_the_factory_that_was_there_is_used_and_wrapped_once(factory: None) -> None:
    """An app's own factory makes the records still, and a second call changes nothing."""
    plain = logging.getLogRecordFactory()

    class Own(logging.LogRecord):
        """A record of the app's."""

    logging.setLogRecordFactory(Own)
    trace_logs()
    wrapped = logging.getLogRecordFactory()
    trace_logs()
    assert logging.getLogRecordFactory() is wrapped is not plain
    record = wrapped("name", logging.INFO, "file.py", 7, "message", (), None)
    assert isinstance(record, Own)
    assert vars(record)["trace_id"] == ""


def test_a_malformed_trace_of_a_call_is_none(written: io.StringIO) -> None:
    """What a gRPC client sent as its trace does not get into the log unless it is one."""
    token = AMBIENT.set(Carried(math.inf, "00-\nforged line\n-01"))
    try:
        log("safe")
    finally:
        AMBIENT.reset(token)
    assert written.getvalue() == "WARNING safe [  ]\n"


def test_a_current_span_of_opentelemetry_goes_first(written: io.StringIO) -> None:
    """An app that OpenTelemetry traces logs the ids of its span, and the request's id beside."""
    tracer = TracerProvider().get_tracer("app")
    seen: list[str] = []

    async def endpoint() -> None:
        with tracer.start_as_current_span("work") as span:
            context = span.get_span_context()
            seen.append(f"[{context.trace_id:032x} {context.span_id:016x} r-7]")
            log("work")
        log("after")

    answered(endpoint, FIELDS)
    assert written.getvalue().splitlines() == [f"WARNING work {seen[0]}", f"WARNING after {WHOLE}"]


def test_structlog_s_events_have_the_ids() -> None:
    """The processor adds what there is, leaves what an event has, and adds nothing outside of a request."""
    text = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(text), processors=[add_trace, structlog.processors.JSONRenderer()]
    )

    async def endpoint() -> None:
        logger.info("one")
        logger.info("two", trace_id="mine")

    logger.info("none")
    answered(endpoint, FIELDS)
    first, second, third = map(json.loads, text.getvalue().splitlines())
    assert first == {"event": "none"}
    assert second == {"event": "one", "trace_id": TRACE, "span_id": SPAN, "request_id": "r-7"}
    assert third == {"event": "two", "trace_id": "mine", "span_id": SPAN, "request_id": "r-7"}

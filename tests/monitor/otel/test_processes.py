"""A trace goes through several processes."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span

import hasten.rpc
from hasten.monitor.otel import Otlp
from tests.monitor.otel.collector import Collector
from tests.monitor.otel.shop import METHOD, telling

ROOT = Path(__file__).parents[3]


@contextmanager
def stock(collector: Collector) -> Iterator[str]:
    """Run a stock service in a process of its own, and yield where it listens."""
    command = [sys.executable, "-m", "tests.monitor.otel.stock_process", collector.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            assert process.wait(30) == 0


def test_two_processes_make_one_trace(collector: Collector) -> None:
    """The server's span in the one process is within the client's in the other, and each says who it is."""

    async def scenario(place: str) -> None:
        channel = hasten.rpc.Channel(place)
        async with telling(Otlp(collector.url, ratio=1.0), channel, service="storefront"), channel:
            assert await channel.unary_unary(METHOD)(b"7", timeout=10.0) == b"reserved"

    with stock(collector) as place:
        asyncio.run(scenario(place))
    name = METHOD.removeprefix("/")
    client, server = collector.span(name, Span.SPAN_KIND_CLIENT), collector.span(name, Span.SPAN_KIND_SERVER)
    assert (server.trace_id, server.parent_span_id) == (client.trace_id, client.span_id)
    assert len(collector.spans) == 2
    assert {resource["service.name"] for resource in collector.resources} == {"storefront", "stock"}
    assert len({resource["service.instance.id"] for resource in collector.resources}) == 2

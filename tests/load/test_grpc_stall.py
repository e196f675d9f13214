"""Coordinated omission over gRPC: what a stalling server does to its clients shows in full, as over HTTP.

The truth is computed from the server's own record of its stall, as in test_stall.py.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten.load import Plan, arrival_times, run
from tests.rpc.schema.servers import PROTOS, STOCK

RATE, WARMUP, SECONDS, SEED = 100.0, 0.5, 5.0, 11  # one stall of 0.5 s in 5 s: a tenth of all calls


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """Start the stalling server; it ends with its standard input."""
    program = str(Path(__file__).with_name("stalling_grpc_server.py"))
    with subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        yield it


def p99(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def test_stalls_show_in_full(server: subprocess.Popen[str]) -> None:
    """The p99 over gRPC of a stalling server is within 10 % of the truth by its record."""
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(server.stdout.readline())
    plan = Plan.for_method(f"grpc://127.0.0.1:{port}/shop.Stock/Get", rate=RATE, duration=SECONDS)
    plan = plan.with_settings(warmup=WARMUP, seed=SEED, proto=(str(STOCK),), proto_path=(str(PROTOS),))
    try:
        result = run(plan)
    finally:
        server.stdin.close()
    stalls = json.loads(server.stdout.read())
    due = [result.started_at + offset for offset in arrival_times(RATE, WARMUP + SECONDS, seed=SEED)]
    due = [time for time in due if time >= result.started_at + WARMUP]
    waits = [max((end - time for start, end in stalls if start <= time < end), default=0.0) for time in due]
    assert result.total.offered == result.total.answered == len(waits)
    assert p99(waits) > 0.3
    assert result.total.p99 == pytest.approx(p99(waits), rel=0.1)

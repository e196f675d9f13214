"""Coordinated omission: what a stalling server does to its clients shows in full.

The server records when it stalled. What every request should have waited follows from that and from its
intended send time, so the truth is computed, and nothing depends on how fast the machine is.
"""

import http.client
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten.load import LoadResult, Plan, Progress, arrival_times, run

RATE, WARMUP, SECONDS, SEED = 300.0, 0.5, 5.0, 11  # one stall of 0.5 s in 5 s: a tenth of all requests


class ClosedLoop(threading.Thread):
    """One user who waits for each answer before asking again, as hey, ab and locust do."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.ended = threading.Event()
        self.times: list[float] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        while not self.ended.wait(0.002):  # his think time
            start = time.perf_counter()
            connection.request("GET", "/")
            connection.getresponse().read()
            self.times.append(time.perf_counter() - start)
        connection.close()


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """Start the stalling server; it ends with its standard input."""
    program = str(Path(__file__).with_name("stalling_server.py"))
    with subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        yield it


def p99(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def truth(result: LoadResult, stalls: list[tuple[float, float]]) -> list[float]:
    """Return what each request had to wait for the stalls, by its intended send time."""
    offsets = arrival_times(RATE, WARMUP + SECONDS, seed=SEED)
    due = [result.started_at + offset for offset in offsets if offset >= WARMUP]
    return [max((end - time for start, end in stalls if start <= time < end), default=0.0) for time in due]


def test_stalls_show_in_full(server: subprocess.Popen[str]) -> None:
    """The p99 of a stalling server is within 10 % of the truth by its record; a closed loop hides it."""
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(server.stdout.readline())
    closed = ClosedLoop(port)
    closed.start()
    try:
        plan = Plan.for_url(f"http://127.0.0.1:{port}/", rate=RATE, duration=SECONDS)
        result = run(plan.with_settings(warmup=WARMUP, seed=SEED))
    finally:
        closed.ended.set()
        closed.join()
        server.stdin.close()
    waits = truth(result, json.loads(server.stdout.read()))
    assert result.total.offered == result.total.answered == len(waits)
    assert p99(waits) > 0.4
    assert result.total.p99 == pytest.approx(p99(waits), rel=0.1)
    # The same server in the same seconds: the closed loop asks hardly ever while it stalls.
    assert p99(closed.times) < p99(waits) / 2


def test_a_late_generator_says_so(server: subprocess.Popen[str]) -> None:
    """When the generator itself is held up, that is in its lateness, and the run is not valid."""
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(server.stdout.readline())
    held = 0.1

    def hold_up(progress: Progress) -> None:
        end = time.perf_counter() + held
        while time.perf_counter() < end:
            pass

    plan = Plan.for_url(f"http://127.0.0.1:{port}/", rate=RATE, duration=1.5)
    result = run(plan.with_settings(warmup=0.0), on_progress=hold_up)
    server.stdin.close()
    assert result.lateness_max > held / 2
    assert "generator's lateness" in [problem.check for problem in result.problems]

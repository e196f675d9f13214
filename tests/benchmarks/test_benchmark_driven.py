"""Children that are driven: what their answers are condensed to, and that they wait for their turns."""

import asyncio
import contextlib
import os
import sys

import pytest

from benchmarks._driven import Driven, OrderedProcess, figures_of, measured
from benchmarks._processes import Cores, Stage
from benchmarks.cache._orders import Calls
from hasten._core.errors import InvalidMeasurement

_CODE = """
import asyncio
from benchmarks._driven import Driven, carry_out
from benchmarks.cache._orders import Calls

async def work(order):
    if order.kind == "miss":
        raise ValueError("no such\\nkey")
    return Driven(calls=3)

print("ready", flush=True)
asyncio.run(carry_out(Calls, work, Driven))
"""


def test_figures_are_those_of_all_turns() -> None:
    """CPU and rate are of all calls together, latencies are means of the turns'."""
    turns = [
        Driven(calls=10, seconds=1.0, client_cpu=1e-4, server_cpu=2e-4, p50=1e-3, p99=3e-3),
        Driven(calls=30, seconds=3.0, client_cpu=1e-4, server_cpu=6e-4, p50=2e-3, p99=5e-3),
    ]
    assert figures_of(turns) == pytest.approx({"client": 5.0, "server": 20.0, "rate": 10.0, "p50": 1500, "p99": 4000})


def test_calls_are_measured() -> None:
    """Quantiles are those of the latencies, in whatever order they come, and CPU is of this process and the other."""

    async def calls() -> list[float]:
        return [number / 1000 for number in reversed(range(1000))]

    driven = asyncio.run(measured(calls(), os.getpid()))
    assert (driven.calls, driven.p50, driven.p99) == (1000, 0.5, 0.99)
    assert min(driven.seconds, driven.client_cpu, driven.server_cpu) > 0.0


def test_processes_on_a_stage() -> None:
    """They are suspended until their turns, carry out what they are ordered, say what went wrong, and end."""
    with Stage() as stage:
        processes = [
            stage.start(OrderedProcess(f"child {number}", [sys.executable, "-c", _CODE], Cores.available().server))
            for number in range(2)
        ]
        pids = [process.pid for process in processes]
        stage.suspend()
        for process in processes:
            assert process.measure(Calls("hit", 0.0), 0.0, Driven).calls == 3
            with pytest.raises(InvalidMeasurement, match=r"child \d: ValueError: no such key"):
                process.measure(Calls("miss", 0.0), 0.0, Driven)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            pytest.fail(f"process {pid} is alive")

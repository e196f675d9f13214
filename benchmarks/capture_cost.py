"""What a service pays while it is profiled: p50, p99 and CPU per request, with and without a capture by each engine.

    python -m benchmarks.capture_cost [--rounds 7] [--rate 200]

In each round one service, on a core of its own, is driven once without a capture and once during one of each engine, in
random order; who captures runs on the service's core, too. Figures are medians of the rounds; ratios are to the turn
without a capture of the same round. A turn in which the generator was late is driven again, and left out if that helps
not; one in which a request failed ends it, with 3. The table is Markdown, on stdout; each turn is a line on stderr.
"""

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hasten._core.errors import HastenError, InvalidMeasurement
from hasten._core.processes import ServiceProcess, cores, split_cores
from hasten.load import Plan, run

_SERVICE = """
import asyncio
from fastapi import FastAPI

app = FastAPI()

@app.get("/work")
async def work() -> dict[str, int]:
    total = 0
    for turn in range(2):
        await asyncio.sleep(0.002)
        for number in range(3000):
            total += number * number % 7
    return {"total": total}
"""
_LIVE = re.compile(r"is seen live on (http://\S+)")
_ENGINES = ("none", "ledger", "py-spy", "yappi")
_SECONDS = 6.0
_ATTACHED = 3.0  # seconds after which a capture that was asked for is under way
_REST = 10.0  # seconds after which a service makes the next one
_TRIES = 2
_START = 30.0
Turn = tuple[float, float, float]
"""p50 and p99 (ms), CPU per request (µs)."""


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture_cost", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    arguments = parser.parse_args()
    rounds: list[dict[str, Turn]] = []
    theirs, ours = split_cores()
    with service(theirs) as (process, url, admin), cores(ours):
        plan = Plan.for_url(f"{url}/work", rate=arguments.rate).with_settings(duration=_SECONDS, warmup=0.5)
        for number in range(arguments.rounds):
            order = random.Random(number).sample(_ENGINES, k=len(_ENGINES))
            seeded = plan.with_settings(seed=number)
            turns = {engine: turn(Captured(engine, process.pid, admin, theirs), seeded) for engine in order}
            rounds.append({engine: found for engine, found in turns.items() if found is not None})
    sys.stdout.write(table(rounds))


@contextmanager
def service(theirs: set[int] | None) -> Iterator[tuple[ServiceProcess, str, str]]:
    """Serve the service on some cores; yield its process, its URL and its admin port's."""
    with tempfile.TemporaryDirectory(prefix="hasten-") as scratch:
        folder = Path(scratch)
        folder.joinpath("service.py").write_text(_SERVICE)
        command = [sys.executable, "-m", "hasten", "run", "service:app", "--host", "127.0.0.1", "--port", "0"]
        environment = {"HASTEN_ADMIN": "127.0.0.1:0", "HASTEN_PROFILE": "1", "HASTEN_PROFILES": str(folder / "kept")}
        with cores(theirs):
            process = ServiceProcess("service", command, environment=environment, log=folder / "log", folder=folder)
        with process:
            url = process.wait_listening(_START)
            process.wait_answering(f"{url}/work", _START)
            yield process, url, _LIVE.findall(process.log.read_text())[0]


class Captured:
    """A capture that is under way within a with block, which ends it; by no engine none is."""

    def __init__(self, engine: str, pid: int, admin: str, theirs: set[int] | None) -> None:
        self.engine = engine
        self.pid = pid
        self._admin = admin
        self._theirs = theirs
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        if self.engine != "none":
            target = str(self.pid) if self.engine == "py-spy" else self._admin
            seconds = f"{_ATTACHED + _SECONDS + 3.0}s"
            options = ["--engine", self.engine, "--seconds", seconds, "--json"]
            with cores(self._theirs):
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "hasten", "profile", target, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        time.sleep(_ATTACHED)

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        early = self._process.poll() is not None
        if self._process.wait(_START) != 0 or early:
            problem = f"its capture ended {'early, ' if early else ''}with exit code {self._process.returncode}"
            raise InvalidMeasurement(self.engine, problem, "try it alone")
        time.sleep(_REST)


def turn(captured: Captured, plan: Plan) -> Turn | None:
    """Drive the service once, during a capture or without any; None where the generator was late each time."""
    engine, clock = captured.engine, (~captured.pid << 3) | 2  # of the process, clock_getcpuclockid(3)
    for _ in range(_TRIES):
        with captured:
            before = time.clock_gettime(clock)
            result = run(plan)
            cpu = time.clock_gettime(clock) - before
        if result.valid:
            break
    else:
        sys.stderr.write(f"{engine}: left out: {result.problems[0].measured}\n")
        return None
    total = result.total
    if total.answered != total.offered:
        raise InvalidMeasurement(engine, f"{total.offered - total.answered} requests failed", "see why")
    found = total.p50 * 1e3, total.p99 * 1e3, cpu / total.offered * 1e6
    sys.stderr.write(f"{engine}: p50 {found[0]:.2f} ms, p99 {found[1]:.2f} ms, CPU {found[2]:.0f} µs a request\n")
    return found


def table(rounds: list[dict[str, Turn]]) -> str:
    """Return the medians of the rounds as a Markdown table."""
    lines = ["| capture | rounds | p50 | p99 | CPU per request | p50, to none | p99, to none | CPU, to none |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for engine in _ENGINES:
        both = [(one[engine], one["none"]) for one in rounds if engine in one and "none" in one]
        if not both:
            raise InvalidMeasurement(engine, "the generator was late in each round", "free a core for it")
        p50, p99, cpu = (statistics.median(found[at] for found, _ in both) for at in range(3))
        ratios = [statistics.median(found[at] / without[at] for found, without in both) for at in range(3)]
        figures = f"{p50:.2f} ms | {p99:.2f} ms | {cpu:.0f} µs"
        lines.append(f"| {engine} | {len(both)} | {figures} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    try:
        main()
    except HastenError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

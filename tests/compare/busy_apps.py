"""Services to compare: FastAPI apps that compute, each in a module of its own."""

from pathlib import Path

from hasten.load import Plan

_APP = """\

import asyncio
from fastapi import FastAPI

app = FastAPI()
seen: list[str] = []

def work(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        total += number * number % 7
    return total

@app.get("/work")
async def compute(number: int = 0) -> dict[str, int]:
    seen.append(f"{{number}}")
    return {{"total": work({rounds})}}

@app.get("/wait")
async def wait() -> None:
    await asyncio.sleep(0.4)

@app.get("/seen")
async def tell() -> list[str]:
    return seen

@app.get("/crash")
async def crash() -> None:
    import os, sys
    print("the disk is full", file=sys.stderr, flush=True)
    os._exit(3)
"""


def write_app(folder: Path, module: str, rounds: int = 4000) -> str:
    """Write an app whose /work computes for `rounds` turns of a loop (4000 are about 0.3 ms); return its target."""
    folder.joinpath(f"{module}.py").write_text(_APP.format(rounds=rounds))
    return f"{module}:app"


def plan_for(path: str = "/work", *, rate: float = 200.0, warmup: float = 0.2) -> Plan:
    """Return a plan of one kind of request."""
    return Plan.for_url(f"http://127.0.0.1{path}", rate=rate).with_settings(warmup=warmup)


def runs(pid: int) -> bool:
    """Tell whether a process is there, and no zombie that nobody has waited for yet."""
    try:
        return state_of(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state_of(pid: int) -> str:
    """Return the letter that Linux gives a process: S sleeps, R runs, T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

"""Calls a subject's app and a bare one without a server: `python -m benchmarks.metrics._calls SUBJECT`.

What a library adds is a few µs; what a server's CPU differs by between turns is more than that, and what the same code
costs in two processes differs by 2 µs, as their memory lies elsewhere. So both apps are in one process, of which each
order gets a new one; they are called in turn, in short stretches, by the loop's thread alone; of each app the cheapest
stretch counts.
"""

import asyncio
import sys
import time
from typing import Any

import msgspec
import uvloop

from benchmarks._child import announce, die_with_parent
from benchmarks._driven import Answer, WrongValueError, carry_out
from benchmarks.metrics._apps import APPS, build_app
from benchmarks.response_cache._work import FIRST, path_of

_STRETCH = 50
_SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": path_of(FIRST),
    "raw_path": path_of(FIRST).encode(),
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"bench"), (b"accept", b"*/*"), (b"accept-encoding", b"gzip"), (b"user-agent", b"bench")],
    "client": ("127.0.0.1", 40000),
    "server": ("127.0.0.1", 8000),
}


class Call(msgspec.Struct, frozen=True, tag=True):
    """Order: call each app in so many stretches of 50 calls."""

    stretches: int


class Called(Answer, frozen=True):
    """CPU seconds of a call, in the cheapest stretch.

    Attributes:
      cpu: Of the subject's app.
      bare: Of the app without metrics.
    """

    cpu: float = 0.0
    bare: float = 0.0


class _Cycle:
    """A request at a server: like uvicorn's, so that calls of `send` in the app cost what they cost there."""

    def __init__(self) -> None:
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]


async def _stretch(app: Any) -> float:
    """Return the CPU seconds of a call."""
    statuses: list[int] = []
    started = time.thread_time()
    for _ in range(_STRETCH):
        cycle = _Cycle()
        await app(dict(_SCOPE), cycle.receive, cycle.send)
        statuses.append(cycle.status)
    seconds = time.thread_time() - started
    if statuses != [200] * _STRETCH:
        raise WrongValueError(f"statuses {set(statuses)}")
    return seconds / _STRETCH


async def _main(app: Any, bare: Any) -> None:
    async def work(order: Call) -> Called:
        taken = [(await _stretch(app), await _stretch(bare)) for _ in range(order.stretches)]
        return Called(cpu=min(with_app for with_app, _ in taken), bare=min(without for _, without in taken))

    await _stretch(app)
    await _stretch(bare)
    announce("on stdin")
    await carry_out(Call, work, Called)


if __name__ == "__main__":
    die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(APPS[sys.argv[1]](build_app(0)), build_app(0)))

"""Everything of the package lives with an app: it starts when the app has, and ends before it."""

import gc
import subprocess
import sys
import threading
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

import hasten
from hasten.concurrency import Background, GcPolicy, SyncEndpoints, TaskWatch, ThreadPool


def test_they_live_with_the_app() -> None:
    """A request uses them, and after the app has stopped nothing of them is left, twice in a row."""
    pool, background, written = ThreadPool("files", 2), Background(), []
    policy, watch, endpoints = GcPolicy(), TaskWatch(), SyncEndpoints(7)
    app = FastAPI()

    @pool.wrap
    def read() -> str:
        written.append(threading.current_thread().name)
        return "text"

    async def note() -> None:
        written.append("noted")

    @app.get("/")
    async def page() -> str:
        background.keep(note())
        return await read()

    @app.get("/threads")
    def threads() -> int:
        return endpoints.statistics().threads

    hasten.install(app, bus=[policy, pool, background, watch, endpoints], admin=None)
    thresholds = gc.get_threshold()
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/").json() == "text"
            assert client.get("/threads").json() == 7
            assert gc.get_threshold()[0] == 10_000
        assert gc.get_threshold() == thresholds
        assert sorted(written) == ["hasten-files-0", "noted"]
        written.clear()
        for thread in threading.enumerate():
            if thread.name.startswith("hasten-files"):
                thread.join(10)
                assert not thread.is_alive()


def test_a_process_ends_with_idle_threads_and_waits_for_busy_ones(tmp_path: Path) -> None:
    """A pool that was not closed does not keep a process from ending, and what a thread has begun is done by then."""
    program = f"""
import asyncio, threading
from hasten.concurrency import ThreadPool

begun, gate = threading.Event(), threading.Event()

def write():
    begun.set()
    gate.wait(30)
    open({str(tmp_path / "done")!r}, "w").write("done")

async def main():
    pool = ThreadPool("files", 2)
    await pool.run(int)
    task = asyncio.create_task(pool.run(write))
    await asyncio.to_thread(begun.wait)
    return pool, task

kept = asyncio.run(main())
threading.Timer(0.1, gate.set).start()
"""
    subprocess.run([sys.executable, "-c", program], timeout=50, check=True)
    assert (tmp_path / "done").read_text() == "done"

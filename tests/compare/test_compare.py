"""A whole comparison, called by code: what it tells of how it was made."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hasten.compare import Change, Comparison, ComparisonOptions, Decision, Verdict, compare, side_of
from hasten.compare._compare import progress_line
from hasten.load import Plan
from tests.compare.busy_apps import plan_for, write_app
from tests.load.grpc_servers import found, serving_grpc

BRIEF = ComparisonOptions(budget=1.0, round_seconds=0.1)


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Return the URL of a server that answers everything, in this process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_grpc_services_are_compared() -> None:
    """Two servers that are there already are sent the same calls; their process's CPU is known."""
    said: list[str] = []

    async def main() -> Comparison:
        async with serving_grpc(found) as before, serving_grpc(found) as after:
            plan = Plan.for_method(f"{before}/shop.Stock/Get", rate=100, data='{"product_id": 7}')
            sides = side_of(before, "BEFORE"), side_of(after, "AFTER")
            return await asyncio.to_thread(compare, *sides, plan.with_settings(warmup=0.1), BRIEF, said.append)

    comparison = asyncio.run(main())
    assert comparison.before.startswith("grpc://")
    assert comparison.rounds + comparison.discarded >= 1
    assert not any(note.startswith("CPU is not known") for note in comparison.notes)
    assert said[:3] == ["starting both sides", "warming up before", "warming up after"]
    assert said[3].startswith("1 pair, ")
    assert not comparison.partial


def test_a_comparison_of_unlike_sides_says_so(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was started here and one that was not do not run alike, which a note tells."""
    monkeypatch.chdir(tmp_path)
    app = side_of(write_app(tmp_path, "one"), "BEFORE")
    comparison = compare(app, side_of(url, "AFTER"), plan_for("/wait", rate=50.0), BRIEF, lambda _: None)
    (note,) = [note for note in comparison.notes if note.startswith("unlike ")]
    assert note == f"unlike the other, after: {url} was not started here: it may have another core, and never rests"
    assert comparison.environment["rate"] == "50/s poisson"
    assert comparison.environment["round"] == "0.1 s after 0.5 s of lead-in"


def test_progress_is_told_in_a_few_words() -> None:
    """The foremost change so far, and how much time is left at most."""
    change = Change(
        kind="GET /",
        metric="p50",
        before=0.001,
        after=0.0011,
        change=0.1,
        low=0.02,
        high=0.18,
        p=0.01,
        detectable=0.1,
        verdict=Verdict.UNDECIDED,
    )
    decision = Decision(rounds=20, warming=0, spoilt=0, changes=(change,), verdict=Verdict.UNDECIDED, decided=False)
    assert progress_line(decision, 23, 95.4) == "23 pairs, GET / p50 +10.0% (+2.0% to +18.0%), at most 95 s left"

"""Runs against servers that answer or misbehave: every request is accounted for, by what happened."""

import asyncio
import contextlib
import math
import re
import ssl
from pathlib import Path

import pytest

from hasten._core.errors import TargetUnreachable
from hasten.load import Generator, LoadResult, Plan, Progress, RequestKind, arrival_times, run, run_plan
from tests.conftest import LoopFactory
from tests.load.servers import (
    Handler,
    answering,
    answering_then_closing,
    never_answering,
    read_request,
    refused_url,
    resetting,
    serving,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def plan_for(url: str, *, method: str = "GET", expect: tuple[int, ...] = (), **settings: object) -> Plan:
    """Return a plan of 40 requests in 0.25 s at equal gaps."""
    plan = Plan.for_url(url, rate=160, duration=0.25, method=method, expect=expect)
    return plan.with_settings(**{"warmup": 0.0, "arrivals": "constant", **settings})


def load(loop_factory: LoopFactory, handler: Handler, **settings: object) -> LoadResult:
    """Run `plan_for` against a server of `handler`."""

    async def main() -> LoadResult:
        async with serving(handler) as url:
            return await run_plan(plan_for(url, **settings))  # type: ignore[arg-type]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


@pytest.mark.parametrize(
    "response",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    ],
)
def test_all_answered(loop_factory: LoopFactory, response: bytes) -> None:
    """Every request that is due is sent and its answer counted, whatever the framing of the response."""
    result = load(loop_factory, answering(response))
    assert (result.total.offered, result.total.answered, result.total.errors) == (40, 40, {})
    assert 0 < result.total.p50 <= result.total.p90 <= result.total.p99 <= result.total.max < math.inf
    assert 0 < result.total.service_p50 <= result.total.p50 * 1.01
    assert result.missed == result.repeats == 0
    assert result.cpu_seconds > 0
    assert result.lateness_p50 <= result.lateness_p99 <= result.lateness_max


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_connections_that_end_with_the_response(loop_factory: LoopFactory, response: bytes) -> None:
    """A server that closes after each response is no error, announced or by the body's end."""
    result = load(loop_factory, answering_then_closing(response))
    assert (result.total.answered, result.total.errors) == (40, {})


async def closing_unannounced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, then close at the next instead of answering it."""
    await read_request(reader)
    writer.write(OK)
    await read_request(reader)


def test_reused_connection_closed_under_a_request(loop_factory: LoopFactory) -> None:
    """A request whose reused connection is closed unanswered is sent again on a fresh one, and counted."""
    result = load(loop_factory, closing_unannounced)
    assert (result.total.answered, result.total.errors) == (40, {})
    assert result.repeats > 0


def test_requests_that_change_something_are_not_repeated(loop_factory: LoopFactory) -> None:
    """A POST whose reused connection is closed is a reset: it may have been carried out."""
    result = load(loop_factory, closing_unannounced, method="POST")
    assert result.repeats == 0
    assert result.total.errors["reset"] == 40 - result.total.answered > 0


async def closing_mid_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")


@pytest.mark.parametrize(
    ("handler", "errors"),
    [
        (resetting, {"reset": 40}),
        (closing_mid_body, {"reset": 40}),
        (answering(b"220 smtp.example ESMTP\r\n"), {"protocol": 40}),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"), {"protocol": 40}),
        (answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), {"status": 40}),
    ],
)
def test_errors_by_kind(loop_factory: LoopFactory, handler: Handler, errors: dict[str, int]) -> None:
    """Whatever the server does to a request, it is counted once, by what happened, and as infinitely slow."""
    result = load(loop_factory, handler)
    assert (result.total.offered, result.total.answered, result.total.errors) == (40, 0, errors)
    assert result.total.p50 == result.total.max == math.inf
    assert result.repeats == 0


def test_timeout(loop_factory: LoopFactory) -> None:
    """A request without an answer fails when its time is over, and so does one without a connection."""
    result = load(loop_factory, never_answering, timeout=0.1, connections=3)
    assert result.total.errors == {"timeout": 40}
    assert result.connections == 3


def test_expected_statuses(loop_factory: LoopFactory) -> None:
    """Only the statuses that the plan expects are answers; the others are counted by status."""
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    assert load(loop_factory, answering(missing), expect=(404,)).total.answered == 40
    result = load(loop_factory, answering(OK), expect=(201,))
    assert (result.total.errors, result.total.statuses) == ({"status": 40}, {"200": 40})


def test_head_requests(loop_factory: LoopFactory) -> None:
    """The response to HEAD has no body, and the connection goes on."""
    result = load(loop_factory, answering(OK[:-2]), method="HEAD")
    assert (result.total.answered, result.connections <= 2) == (40, True)


def test_bytes_nobody_asked_for(loop_factory: LoopFactory) -> None:
    """A server that sends more than its response gets no second request on that connection."""
    result = load(loop_factory, answering(OK + b"HTTP/1.1 200 OK\r\n"))
    assert (result.total.answered, result.total.errors) == (40, {})


def test_waiting_for_a_connection_counts_as_the_servers(loop_factory: LoopFactory) -> None:
    """With one connection, requests wait in line: in the latency, not in the generator's lateness."""
    released = asyncio.Event()
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        asyncio.get_running_loop().call_later(0.3, released.set)
        await released.wait()
        writer.write(OK)
        await answering(OK, seen)(reader, writer)

    result = load(loop_factory, handle, connections=1)
    assert (result.total.answered, result.connections) == (40, 1)
    # All were due within 0.25 s and none was answered before 0.3 s after the first had come.
    assert result.total.p50 >= 0.15 * 0.99
    assert result.total.max >= 0.3 * 0.99


def test_connections_are_bounded(loop_factory: LoopFactory) -> None:
    """At no time are more connections open than the plan allows."""
    open_now, most = 0, 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            await answering_then_closing(OK)(reader, writer)
        finally:
            open_now -= 1

    result = load(loop_factory, handle, connections=4, rate=800)
    assert (result.total.answered, result.total.errors) == (200, {})
    assert most <= result.connections + 1  # one that the client has closed may not yet have been noticed
    assert result.connections <= 4


def test_refused_before_the_start(loop_factory: LoopFactory) -> None:
    """A target that nobody listens on is said to be unreachable, and nothing is sent."""
    with (
        asyncio.Runner(loop_factory=loop_factory) as runner,
        pytest.raises(TargetUnreachable, match=r"http://127\.0\.0\.1:\d+: connection refused; is it running\?"),
    ):
        runner.run(run_plan(plan_for(refused_url())))


def test_server_that_goes_away(loop_factory: LoopFactory) -> None:
    """Requests due after the server has gone fail by kind connect or reset; none is forgotten."""

    async def main() -> LoadResult:
        served = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            await read_request(reader)
            served += 1
            writer.write(OK)
            if served == 10:
                gone.set()

        async with contextlib.AsyncExitStack() as server:
            gone = asyncio.Event()
            url = await server.enter_async_context(serving(handle))
            run = asyncio.create_task(run_plan(plan_for(url)))
            await gone.wait()
            await server.aclose()
            return await run

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    assert result.total.offered == 40
    assert result.total.answered >= 9
    assert set(result.total.errors) <= {"connect", "reset"}
    assert result.total.errors["connect"] > 0


def test_warm_up_is_sent_and_not_counted(loop_factory: LoopFactory) -> None:
    """Requests of the warm-up reach the server and are in no figure."""
    seen: list[bytes] = []
    result = load(loop_factory, answering(OK, seen), warmup=0.25)
    assert (result.total.offered, len(seen)) == (40, 80)


def test_offered_is_what_the_schedule_says(loop_factory: LoopFactory) -> None:
    """As many requests are counted as the seed's Poisson arrivals have in the measured part."""
    result = load(loop_factory, answering(OK), arrivals="poisson", seed=5, warmup=0.125)
    due = [time for time in arrival_times(160, 0.375, seed=5) if time >= 0.125]
    assert result.total.offered == len(due)


def test_kinds_are_counted_apart(loop_factory: LoopFactory) -> None:
    """Each kind of request has its own row; together they make the total."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            writer.write(OK if request.startswith(b"GET /a ") else OK.replace(b"200", b"500"))

    async def main() -> LoadResult:
        async with serving(handle) as url:
            kinds = (
                RequestKind(name="a", path="/a"),
                RequestKind(name="b", method="POST", path="/b", body="x"),
            )
            plan = Plan(target=url, requests=kinds, rate=320, duration=0.25, warmup=0.0, arrivals="constant")
            return await run_plan(plan.checked())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    a, b = result.kinds
    assert (a.name, a.errors, a.offered) == ("a", {}, a.answered)
    assert (b.name, b.errors, b.answered) == ("b", {"status": b.offered}, 0)
    assert a.offered > 0 < b.offered
    assert a.offered + b.offered == result.total.offered == 80


def test_request_ids(loop_factory: LoopFactory) -> None:
    """With request_ids each counted request has a record under the number that the server saw."""
    seen: list[bytes] = []

    async def main() -> LoadResult:
        async with serving(answering(OK, seen)) as url:
            return await run_plan(plan_for(url, warmup=0.125), request_ids=True)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    numbers = sorted(int(re.findall(rb"X-Request-ID: (\d+)\r\n", request)[0]) for request in seen)
    assert numbers == list(range(60))
    records = result.requests
    assert records is not None
    rows = list(records.rows())
    assert sorted(number for number, _, _ in rows) == list(range(20, 60))
    assert {status for _, _, status in rows} == {200}
    assert max(latency for _, latency, _ in rows) == pytest.approx(result.total.max, abs=1e-8)
    assert len(records) == 40


def test_records_of_failed_requests(loop_factory: LoopFactory) -> None:
    """A request without an answer is on record with status 0 and an infinite latency."""

    async def main() -> LoadResult:
        async with serving(resetting) as url:
            return await run_plan(plan_for(url), request_ids=True)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        records = runner.run(main()).requests
    assert records is not None
    assert {(latency, status) for _, latency, status in records.rows()} == {(math.inf, 0)}


def test_progress(loop_factory: LoopFactory) -> None:
    """Progress is told while it runs, with what is done so far."""
    reports: list[Progress] = []

    async def main() -> LoadResult:
        async with serving(answering(OK)) as url:
            return await run_plan(plan_for(url, duration=1.2), on_progress=reports.append)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    assert reports
    assert all(0 <= report.elapsed <= report.planned == 1.2 for report in reports)
    assert 0 < reports[-1].offered <= result.total.offered


def test_cancellation_closes_everything(loop_factory: LoopFactory) -> None:
    """Cancelling a run stops sending and closes every connection at once."""

    async def main() -> None:
        ended: list[asyncio.Task[None] | None] = []
        arrived, all_gone = asyncio.Event(), asyncio.Event()
        opened = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            await read_request(reader)
            arrived.set()
            try:
                await reader.read()
            finally:
                ended.append(None)
                if len(ended) == opened:
                    all_gone.set()

        async with serving(handle) as url:
            task = asyncio.create_task(run_plan(plan_for(url, duration=60.0)))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await all_gone.wait()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_stop_leaves_a_partial_result(loop_factory: LoopFactory) -> None:
    """A run that is stopped tells what it measured until then; requests under way are not counted."""

    async def main() -> LoadResult:
        seen = 0
        stalled = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            while True:
                await read_request(reader)
                seen += 1
                if seen > 10:
                    stalled.set()
                    await reader.read()
                writer.write(OK)

        async with serving(handle) as url:
            generator = Generator(plan_for(url, duration=60.0))
            task = asyncio.create_task(generator.run())
            await stalled.wait()
            generator.stop()
            await task
            return generator.result()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    assert result.partial
    assert result.total.offered == result.total.answered == 10
    assert 0 < result.measured < 60.0


def test_run_makes_its_own_loop() -> None:
    """`run` needs no event loop around it and has none left when it returns."""

    async def main() -> LoadResult:
        async with serving(answering(OK)) as url:
            return await asyncio.to_thread(run, plan_for(url))

    result = asyncio.run(main())
    assert result.total.answered == 40
    assert result.pacing in ("timerfd", "loop timers")


def test_https(loop_factory: LoopFactory, certificate: Path) -> None:
    """Over https an untrusted certificate is refused before the start, unless it was said not to matter."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def main() -> LoadResult:
        async with serving(answering(OK), tls) as url:
            with pytest.raises(TargetUnreachable, match=r"certificate is not trusted: .*; --insecure accepts any"):
                await run_plan(plan_for(url))
            return await run_plan(plan_for(url, verify=False))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()).total.answered == 40

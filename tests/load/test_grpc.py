"""Runs of gRPC plans against servers that answer or misbehave: every call is accounted for, by its status."""

import asyncio
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from hasten._core.errors import ConfigurationError, TargetUnreachable
from hasten.load import Generator, LoadResult, Plan, Range, RequestKind, Values, Zipf, run_plan
from tests.conftest import LoopFactory
from tests.load.grpc_servers import Behaviour, Level, aborting, found, never, noting, serving_grpc
from tests.load.servers import answering, never_answering, refused_url, serving
from tests.rpc.schema.servers import PROTOS, STOCK

GET = "shop.Stock/Get"


def plan_for(url: str, *, method: str = GET, data: str = "", expect: tuple[str, ...] = (), **settings: object) -> Plan:
    """Return a plan of 40 calls in 0.25 s at equal gaps."""
    plan = Plan.for_method(f"{url}/{method}", rate=160, duration=0.25, data=data, expect=expect)
    return plan.with_settings(**{"warmup": 0.0, "arrivals": "constant", **settings})


def load(loop_factory: LoopFactory, behaviour: Behaviour, **settings: object) -> LoadResult:
    """Run `plan_for` against a server of `behaviour`."""

    async def main() -> LoadResult:
        async with serving_grpc(behaviour) as url:
            return await run_plan(plan_for(url, **settings))  # type: ignore[arg-type]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def load_kinds(*kinds: RequestKind, behaviour: Behaviour = found, **settings: object) -> LoadResult:
    """Run a plan of `kinds` against a server of `behaviour`."""

    async def main() -> LoadResult:
        async with serving_grpc(behaviour) as url:
            plan = Plan(target=url, requests=kinds, rate=160, duration=0.25, warmup=0.0, arrivals="constant")
            return await run_plan(plan.checked().with_settings(**settings))

    return asyncio.run(main())


@pytest.mark.parametrize("method", [GET, "shop.Stock/Watch"])
def test_all_answered(loop_factory: LoopFactory, method: str) -> None:
    """Every call that is due is made and its answer counted; a stream of responses is one when it has ended."""
    result = load(loop_factory, found, method=method, data='{"product_id": 7}')
    assert (result.total.offered, result.total.answered, result.total.errors) == (40, 40, {})
    assert 0 < result.total.p50 <= result.total.p99 <= result.total.max < math.inf
    assert 0 < result.total.service_p50 <= result.total.p50 * 1.01
    assert (result.kinds[0].name, result.kinds[0].method, result.kinds[0].path) == (method, method, "")
    assert (result.connections, result.repeats, result.missed) == (1, 0, 0)


def test_stream_is_answered_at_its_end(loop_factory: LoopFactory) -> None:
    """A stream of responses that fails after the first one counts as failed."""
    calls: dict[int, int] = {}

    async def fail_second(query: Any, context: Any) -> Any:
        calls[id(context)] = calls.get(id(context), 0) + 1
        if calls[id(context)] % 2 == 0:
            await context.abort(grpc.StatusCode.DATA_LOSS, "half a stream")
        return Level()

    result = load(loop_factory, fail_second, method="shop.Stock/Watch")
    assert result.total.offered == 40
    assert result.total.statuses["DATA_LOSS"] == 40 - result.total.answered > 0


@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_failures_by_status(loop_factory: LoopFactory, code: grpc.StatusCode) -> None:
    """A call that ends with another status than OK failed, counted by that status' name and as infinitely slow."""
    result = load(loop_factory, aborting(code))
    assert (result.total.answered, result.total.errors) == (0, {"status": 40})
    assert result.total.statuses == result.kinds[0].statuses == {code.name: 40}
    assert result.total.p50 == math.inf


def test_expected_statuses(loop_factory: LoopFactory) -> None:
    """Only the statuses that the plan expects are answers: OK is then none."""
    expected = aborting(grpc.StatusCode.NOT_FOUND)
    assert load(loop_factory, expected, expect=("NOT_FOUND",)).total.answered == 40
    result = load(loop_factory, found, expect=("NOT_FOUND",))
    assert (result.total.answered, result.total.statuses) == (0, {"OK": 40})


def test_timeout(loop_factory: LoopFactory) -> None:
    """A call without an answer by its deadline is a time-out, and the server knew the deadline."""
    remaining: list[float] = []

    async def stuck(query: Any, context: Any) -> Any:
        remaining.append(context.time_remaining())
        await never(query, context)

    result = load(loop_factory, stuck, timeout=0.2)
    assert (result.total.errors, result.total.statuses) == ({"timeout": 40}, {})
    assert remaining
    assert max(remaining) <= 0.21


def test_deadline_of_the_servers_own(loop_factory: LoopFactory) -> None:
    """A server that says DEADLINE_EXCEEDED before our deadline is counted by that status."""
    result = load(loop_factory, aborting(grpc.StatusCode.DEADLINE_EXCEEDED))
    assert result.total.statuses == {"DEADLINE_EXCEEDED": 40}


def test_server_that_goes_away(loop_factory: LoopFactory) -> None:
    """Calls due after the server has gone fail as UNAVAILABLE, or CANCELLED by it; none is forgotten."""

    async def main() -> LoadResult:
        served = 0
        enough = asyncio.Event()

        async def count(query: Any, context: Any) -> Any:
            nonlocal served
            served += 1
            if served == 10:
                enough.set()
            return Level()

        async with serving_grpc(count) as url:
            running = asyncio.create_task(run_plan(plan_for(url)))
            await enough.wait()
        return await running

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    assert result.total.offered == 40
    assert result.total.answered >= 9
    assert set(result.total.statuses) <= {"UNAVAILABLE", "CANCELLED"}
    assert result.total.statuses["UNAVAILABLE"] > 0


def test_requests_are_filled_in() -> None:
    """Each call carries values of its parameters, escaped where they stand in a text."""
    seen: list[Any] = []
    data = '{"product_id": {id}, "who": "{who}", "lines": [{"product_id": "{id}"}]}'
    parameters: dict[str, Range | Zipf | Values] = {"id": Range(5, 6), "who": Values(('a "b"\\', "ü"))}
    kind = RequestKind(name="k", method=GET, data=data, parameters=parameters)
    assert load_kinds(kind, behaviour=noting(seen)).total.answered == 40
    assert {query.product_id for query in seen} == {5, 6}
    assert {query.who for query in seen} == {'a "b"\\', "ü"}
    assert all(query.lines[0].product_id == query.product_id for query in seen)


def test_metadata_arrives() -> None:
    """Headers arrive as metadata, keys in lower case and `-bin` values decoded; numbers, if they were asked for."""
    metadata: list[dict[str, Any]] = []

    async def main() -> LoadResult:
        async with serving_grpc(noting([], metadata)) as url:
            kind = RequestKind(name="k", method=GET, headers=(("X-Who", "me"), ("trace-bin", "AP8")))
            plan = Plan(target=url, requests=(kind,), rate=160, duration=0.25, warmup=0.0, arrivals="constant")
            return await run_plan(plan.checked(), request_ids=True)

    result = asyncio.run(main())
    assert {(each["x-who"], each["trace-bin"]) for each in metadata} == {("me", b"\x00\xff")}
    assert sorted(int(each["x-request-id"]) for each in metadata) == list(range(40))
    assert result.requests is not None
    rows = list(result.requests.rows())
    assert sorted(number for number, _, _ in rows) == list(range(40))
    assert all(latency < math.inf and status == 0 for _, latency, status in rows)


def test_kinds_are_counted_apart() -> None:
    """Each kind of call has its own row."""
    kinds = (
        RequestKind(name="get", method=GET, weight=3),
        RequestKind(name="find", method="shop.Stock/Find", data='"x"', expect=(5,)),
    )

    async def by_type(query: Any, context: Any) -> Any:
        if query.DESCRIPTOR.name == "StringValue":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no x")
        return Level()

    result = load_kinds(*kinds, behaviour=by_type)
    assert [(kind.name, kind.errors, kind.offered > 0) for kind in result.kinds] == [
        ("get", {}, True),
        ("find", {}, True),
    ]
    assert result.total.answered == 40


def test_channels_take_turns(loop_factory: LoopFactory) -> None:
    """As many connections as the plan says carry the calls."""
    peers: set[str] = set()

    async def note_peer(query: Any, context: Any) -> Any:
        peers.add(context.peer())
        return Level()

    result = load(loop_factory, note_peer, connections=3)
    assert (result.total.answered, result.connections, len(peers)) == (40, 3, 3)


def test_proto_files() -> None:
    """A server without reflection is called by its .proto files, and refused without them."""

    async def main() -> LoadResult:
        async with serving_grpc(found, reflecting=False) as url:
            with pytest.raises(ConfigurationError, match=r"^reflection: the server does not offer it; .*--proto FILE"):
                await run_plan(plan_for(url))
            return await run_plan(plan_for(url, proto=(str(STOCK),), proto_path=(str(PROTOS),)))

    assert asyncio.run(main()).total.answered == 40


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            RequestKind(name="k", method="shop.Stok/Get"),
            "request[0].method: there is no service 'shop.Stok'; did you mean shop.Stock?",
        ),
        (RequestKind(name="k", method="shop.Stock/Gets"), "request[0].method: shop.Stock has no method 'Gets'; "),
        (
            RequestKind(name="k", method="shop.Stock/Count"),
            "request[0].method: shop.Stock/Count takes a stream of requests; a call here sends one",
        ),
        (
            RequestKind(name="k", method="shop.Stock/Chat"),
            "request[0].method: shop.Stock/Chat takes a stream of requests; ",
        ),
        (
            RequestKind(name="k", method=GET, data='{"product": 1}'),
            "request[0].data.product: no field of shop.Query; did you mean productId?",
        ),
        (
            RequestKind(name="k", method=GET, data='{"product_id": {id}}', parameters={"id": Range(1, 2**40)}),
            "request[0].data.product_id: out of range: 1099511627776",
        ),
        (
            RequestKind(name="k", method=GET, data='{"product_id": "{id}"}', parameters={"id": Values(("1", "x"))}),
            "request[0].data.product_id: 'x' is no integer",
        ),
    ],
)
def test_requests_that_do_not_fit_the_server(kind: RequestKind, message: str) -> None:
    """A method or a request that the server does not have is refused before the first call, by its key."""
    seen: list[Any] = []
    with pytest.raises(ConfigurationError) as caught:
        load_kinds(kind, behaviour=noting(seen))
    assert str(caught.value).startswith(message)
    assert not seen


def test_refused_before_the_start(loop_factory: LoopFactory) -> None:
    """A target that nobody listens on is said to be unreachable."""
    url = refused_url().replace("http", "grpc")
    with (
        asyncio.Runner(loop_factory=loop_factory) as runner,
        pytest.raises(TargetUnreachable, match=r"^grpc://127\.0\.0\.1:\d+: connection refused; is it running\?"),
    ):
        runner.run(run_plan(plan_for(url)))


def test_server_of_another_protocol(loop_factory: LoopFactory) -> None:
    """A server that answers HTTP/1.1, or nothing, is said not to speak HTTP/2 before anything is sent."""

    async def main() -> None:
        async with serving(answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as url:
            with pytest.raises(TargetUnreachable, match=r": it does not speak HTTP/2; is it a gRPC server, and one wi"):
                await run_plan(plan_for(url.replace("http", "grpc")))
        async with serving(never_answering) as url:
            with pytest.raises(TargetUnreachable, match=r": (no connection within 0\.3 s|it does not speak HTTP/2)"):
                await run_plan(plan_for(url.replace("http", "grpc"), timeout=0.3))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_tls(loop_factory: LoopFactory, certificate: Path) -> None:
    """Over grpcs an untrusted certificate is refused before the start, unless it was said not to matter."""
    both = certificate.read_bytes()
    credentials = grpc.ssl_server_credentials([(both, both)])

    async def main() -> LoadResult:
        async with serving_grpc(found, tls=credentials) as url:
            with pytest.raises(TargetUnreachable, match=r"certificate is not trusted: .*; --insecure accepts any"):
                await run_plan(plan_for(url))
            return await run_plan(plan_for(url, verify=False))

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()).total.answered == 40


def test_stop_leaves_a_partial_result(loop_factory: LoopFactory) -> None:
    """A run that is stopped tells what it measured; calls under way are cancelled at the server and not counted."""

    async def main() -> LoadResult:
        seen = 0
        stalled, cancelled = asyncio.Event(), asyncio.Event()

        async def stall_after_ten(query: Any, context: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen > 10:
                stalled.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            return Level()

        async with serving_grpc(stall_after_ten) as url:
            generator = Generator(plan_for(url, duration=60.0))
            task = asyncio.create_task(generator.run())
            await stalled.wait()
            generator.stop()
            await task
            await cancelled.wait()
            return generator.result()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(main())
    assert result.partial
    assert result.total.offered == result.total.answered == 10


def test_http_url_of_a_grpc_server() -> None:
    """A plan of gRPC methods may name its server by an http URL."""

    async def main() -> LoadResult:
        async with serving_grpc(found) as url:
            return await run_plan(plan_for(url).with_target(url.replace("grpc", "http")))

    assert asyncio.run(main()).total.answered == 40


def test_http_loads_nothing_of_grpc() -> None:
    """Load over HTTP imports neither grpc nor protobuf nor hasten.rpc."""
    program = (
        "import sys, hasten.load, hasten.cli\n"
        "hasten.load.Plan.for_method('grpc://127.0.0.1:1/a.B/C', rate=1)\n"
        "print([name for name in sys.modules if name.startswith(('grpc', 'google.protobuf', 'hasten.rpc', 'hpack'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.strip() == "[]"


def test_without_grpcio() -> None:
    """Without grpcio a gRPC plan is refused with what to install, and an HTTP plan is not."""
    program = (
        "import sys, hasten.load\n"
        "sys.modules['grpc'] = None\n"
        "from hasten._core.errors import MissingDependency\n"
        "from hasten.load import Plan, run\n"
        "try:\n"
        "    run(Plan.for_method('grpc://127.0.0.1:1/a.B/C', rate=1))\n"
        "except MissingDependency as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "grpcio is not installed; run: pip install 'hasten[grpc]'\n"

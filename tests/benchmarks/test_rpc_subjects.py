"""The subjects of the `rpc` benchmark do the work they are measured by; how long it takes is not asserted."""

import asyncio
import itertools
import os
import re
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import grpc.aio
import pytest

from benchmarks._driven import Driven
from benchmarks._harness import Effort
from benchmarks._processes import Cores
from benchmarks.rpc._benchmark import PAIRS, Pair, RpcBenchmark
from benchmarks.rpc._calls import all_cases
from benchmarks.rpc._certificate import make_certificate
from benchmarks.rpc._client import IN_FLIGHT, Drive, RpcClient
from benchmarks.rpc._memory import MemoryTrial
from benchmarks.rpc._orders import SIZES_BYTES, SMALL_BYTES, answer, check, requests, template, traceparents
from benchmarks.rpc._server import RpcServer
from benchmarks.rpc._stack import Place, Transport
from benchmarks.rpc.echo_pb2_grpc import EchoStub
from hasten._core.errors import InvalidMeasurement

_CORES = Cores.available()
_ONE_CALL = Drive(SMALL_BYTES, in_time=True, in_flight=1, seconds=0.0)


def _place(pair: Pair, folder: Path) -> Place:
    if pair.transport is Transport.TLS:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        make_certificate(folder)
    return Place(pair.transport, folder)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_every_subject_answers(pair: Pair, tmp_path: Path) -> None:
    """Each pair of client and server makes every kind of call, and the CPU of both sides is read."""
    place = _place(pair, tmp_path)
    with (
        RpcServer(pair.server, place, _CORES.server) as server,
        RpcClient(pair.client, place, server, _CORES.client) as client,
    ):
        client_cpu = server_cpu = 0.0
        for size_bytes, in_time, in_flight in itertools.product(SIZES_BYTES, (False, True), IN_FLIGHT):
            driven = client.measure(Drive(size_bytes, in_time, in_flight, seconds=0.0), 0.0, Driven)
            assert driven.calls == in_flight
            assert min(driven.seconds, driven.p50, driven.p99) > 0.0
            client_cpu += driven.client_cpu
            server_cpu += driven.server_cpu
        assert min(client_cpu, server_cpu) > 0.0  # of all: the kernel may not have booked a single call's yet


def test_a_failed_call_ends_the_run(tmp_path: Path) -> None:
    """A call that fails makes the measurement invalid, in one line that says why."""
    place = Place(Transport.TCP, tmp_path)
    with ExitStack() as stack:
        server = stack.enter_context(RpcServer("grpc.aio", place, _CORES.server))
        client = stack.enter_context(RpcClient("grpc.aio", place, server, _CORES.client))
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(InvalidMeasurement, match=r"client of grpc\.aio over tcp: AioRpcError") as caught:
            client.measure(_ONE_CALL, 0.0, Driven)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stack", ["hasten", "grpc.aio"])
def test_a_call_without_deadline_is_not_taken_for_one_in_time(stack: str, tmp_path: Path) -> None:
    """The handler of calls in time refuses those that lost their deadline or their traceparent on the way."""

    async def codes(address: str) -> list[grpc.StatusCode]:
        order, metadata = template(SMALL_BYTES), (("traceparent", traceparents()()),)
        async with grpc.aio.insecure_channel(address) as channel:
            say = EchoStub(channel).SayInTime
            calls = [say(order, metadata=metadata), say(order, timeout=5), say(order, timeout=5, metadata=metadata)]
            return [await call.code() for call in calls]

    with RpcServer(stack, Place(Transport.TCP, tmp_path), _CORES.server) as server:
        refused, taken = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK
        assert asyncio.run(codes(server.address)) == [refused, refused, taken]


@pytest.mark.parametrize("stack", ["hasten", "grpc.aio"])
def test_memory_is_counted_by_connection_and_call(stack: str, tmp_path: Path) -> None:
    """The memory trial fills a server of its own with connections and calls, and finds that both cost something."""
    trial = MemoryTrial(stack, Place(Transport.TCP, tmp_path), _CORES.server)
    trial.turn(seed=0)
    figures = trial.figures()
    assert figures.keys() == {"connection", "stream"}
    assert min(figures.values()) > 0.0


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
def test_messages_have_their_size(size_bytes: int) -> None:
    """Requests and replies have the documented size, each with a number of its own."""
    build = requests(size_bytes)
    first, second = build(), build()
    assert first.number != second.number
    assert {len(order.SerializeToString()) for order in (first, second, answer(first))} == {size_bytes}


def test_a_wrong_reply_is_found() -> None:
    """A reply that is not the answer to its request is an error, also when only its lines are missing."""
    small, large = (template(size_bytes) for size_bytes in SIZES_BYTES)
    check(large, answer(large))
    for request, reply in ((small, small), (large, answer(small))):
        with pytest.raises(ValueError, match="wrong reply"):
            check(request, reply)


def test_every_call_has_a_traceparent_of_its_own() -> None:
    """Traceparents are of the form that W3C Trace Context asks for, and no two are the same."""
    make = traceparents()
    made = [make() for _ in range(3)]
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", traceparent) for traceparent in made)


def test_cases_and_subjects_are_complete() -> None:
    """There is a pair for every subject, and eight kinds of call of which each has a name of its own."""
    assert [subject.name for subject in RpcBenchmark.subjects] == list(PAIRS)
    assert len({case.name for case in all_cases()}) == 8


def test_rpc_benchmark_prepares_what_was_chosen() -> None:
    """With two subjects chosen, they have a trial in every case, and mixed pairs only in those with a deadline."""
    with RpcBenchmark().prepare(Effort(1, quick=True, only=("raw", "hasten:grpc.aio"))) as prepared:
        cases = {case.name for case in all_cases()}
        in_time = {name for name in cases if "deadline" in name}
        for subject, expected in (("raw", cases), ("hasten:grpc.aio", in_time)):
            assert {trial.case for trial in prepared.trials if trial.subject == subject} == expected
        trial = prepared.trials[0]
        trial.turn(seed=0)
        assert trial.figures().keys() <= RpcBenchmark.units.keys()

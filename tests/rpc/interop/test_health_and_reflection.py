"""grpcio-health-checking and grpcio-reflection run unchanged, on every server and from every client."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.conftest import LoopFactory
from tests.rpc.interop._servicer import InteropServicer
from tests.rpc.interop._stacks import Registration, Stack, connect, serve
from tests.rpc.interop.protos import service_pb2

SERVICE = "grpc.testing.TestService"
SERVICES = [SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
PROTOS = "tests/rpc/interop/protos"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

every_client = pytest.mark.parametrize("client", Stack, ids=lambda stack: f"{stack.value}-client")
every_server = pytest.mark.parametrize("server", Stack, ids=lambda stack: f"{stack.value}-server")
Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


def converse(
    calls: Callable[[grpc.aio.Channel], Awaitable[None]],
    registrations: Iterable[Registration],
    client: Stack,
    server: Stack,
    loop_factory: LoopFactory,
) -> None:
    """Make calls to a server that has `registrations`."""

    async def conversation() -> None:
        async with serve(server, *registrations) as address, connect(client, address) as channel:
            await calls(channel)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(conversation())


def registered(servicer: health.aio.HealthServicer) -> Registration:
    return lambda server: health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


def reflecting(server: grpc.aio.Server) -> None:
    InteropServicer().register(server)
    reflection.enable_server_reflection(SERVICES, server)


@every_client
@every_server
def test_health_check(client: Stack, server: Stack, loop_factory: LoopFactory) -> None:
    """Check tells the status of the server and of each service; a service that nobody knows is NOT_FOUND."""
    servicer = health.aio.HealthServicer()

    async def calls(channel: grpc.aio.Channel) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        await servicer.set(SERVICE, NOT_SERVING)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status == NOT_SERVING

    converse(calls, [registered(servicer)], client, server, loop_factory)


@every_client
@every_server
def test_health_watch(client: Stack, server: Stack, loop_factory: LoopFactory) -> None:
    """Watch tells every change, and a watcher that cancels is forgotten."""
    servicer = health.aio.HealthServicer()

    async def calls(channel: grpc.aio.Channel) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        call = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await call.read()).status == UNKNOWN
        for status in (SERVING, NOT_SERVING, SERVING):
            await servicer.set(SERVICE, status)
            assert (await call.read()).status == status
        await servicer.enter_graceful_shutdown()
        assert (await call.read()).status == NOT_SERVING
        call.cancel()
        while cast("Any", servicer)._server_watchers:
            await asyncio.sleep(0)

    converse(calls, [registered(servicer)], client, server, loop_factory)


@every_client
@every_server
def test_reflection(client: Stack, server: Stack, loop_factory: LoopFactory) -> None:
    """One stream answers, in turn: the services, the files of a symbol, a file, and what does not exist."""

    async def calls(channel: grpc.aio.Channel) -> None:
        stub = cast("Any", reflection_pb2_grpc.ServerReflectionStub)(channel)
        stream = stub.ServerReflectionInfo()
        listed = await asked(stream, Request(list_services=""))
        assert [service.name for service in listed.list_services_response.service] == sorted(SERVICES)
        symbol = await asked(stream, Request(file_containing_symbol=SERVICE))
        assert files(symbol) == {f"{PROTOS}/{name}.proto" for name in ("empty", "messages", "service")}
        file = await asked(stream, Request(file_by_filename=f"{PROTOS}/messages.proto"))
        assert files(file) == {f"{PROTOS}/messages.proto"}
        missing = await asked(stream, Request(file_containing_symbol="grpc.testing.Absent"))
        assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF

    converse(calls, [reflecting], client, server, loop_factory)


async def asked(stream: Any, request: Request) -> Response:
    await stream.write(request)
    response = await stream.read()
    assert isinstance(response, Response)
    return response


def files(response: Response) -> set[str]:
    """Return the names of the files in a response."""
    found = response.file_descriptor_response.file_descriptor_proto
    return {FileDescriptorProto.FromString(file).name for file in found}


@every_server
def test_reflection_with_the_stock_client(server: Stack, loop_factory: LoopFactory) -> None:
    """grpcio-reflection's client, on a channel of grpcio's threads, builds the service's descriptor."""

    def explore(address: str) -> tuple[list[str], list[str]]:
        with grpc.insecure_channel(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            service = DescriptorPool(database).FindServiceByName(SERVICE)
            return list(database.get_services()), [method.name for method in service.methods]

    async def conversation() -> tuple[list[str], list[str]]:
        async with serve(server, reflecting) as address:
            return await asyncio.to_thread(explore, address)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        services, methods = runner.run(conversation())
    assert services == sorted(SERVICES)
    assert methods == [method.name for method in service_pb2.DESCRIPTOR.services_by_name["TestService"].methods]

"""Runs one of the gRPC services on grpc.aio: ready when its port answers, and calls in flight finish when it stops."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import grpc.aio
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from examples.shop.fast.database import Database, open_database
from examples.shop.peers.settings import Settings

AddService = Callable[[grpc.aio.Server, Database], Awaitable[str]]
"""Adds a service to a server that is not started; returns the service's full name."""

GRACE = 10.0
"""Seconds that calls in flight have to finish after a stop signal."""

OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second process on the port is a mistake, and not half of the calls
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # else a client's keepalive closes its connection
    ("grpc.keepalive_permit_without_calls", 1),
)


@asynccontextmanager
async def serving(
    add_service: AddService, address: str, settings: Settings, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> AsyncIterator[int]:
    """Serve on `address` while the block runs, and give the block the port; port 0 picks a free one.

    The service has loaded what it needs before the port is bound, so who can connect can call. Health checks tell
    balancers to look elsewhere as soon as it stops.
    """
    async with open_database(settings.database) as database:
        server = grpc.aio.server(interceptors=interceptors, options=OPTIONS)
        service = await add_service(server, database)
        checks = health.HealthServicer()
        add_HealthServicer_to_server(checks, server)
        await checks.set(service, HealthCheckResponse.SERVING)
        port = server.add_insecure_port(address)
        await server.start()
        try:
            yield port
        finally:
            await checks.enter_graceful_shutdown()
            await server.stop(GRACE)

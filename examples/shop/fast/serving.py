"""Runs one of the gRPC services: ready when its port answers, and calls in flight finish when it stops."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import grpc.aio
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

import hasten
from examples.shop.fast.database import Database, open_database
from examples.shop.fast.freshness import open_cache
from examples.shop.fast.settings import SLO, Settings
from hasten.cache import Cache
from hasten.rpc import Server


@dataclass(frozen=True, slots=True)
class Resources:
    """What a service's process has."""

    database: Database
    cache: Cache


AddService = Callable[[grpc.aio.Server, Resources], Awaitable[str]]
"""Adds a service to a server that is not started; returns the service's full name."""

GRACE = 10.0
"""Seconds that calls in flight have to finish after a stop signal."""


@asynccontextmanager
async def serving(
    add_service: AddService, address: str, settings: Settings, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> AsyncIterator[int]:
    """Serve on `address` while the block runs, and give the block the port; port 0 picks a free one.

    The service has loaded what it needs before the port is bound, so who can connect can call. Health checks tell
    balancers to look elsewhere as soon as it stops.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database))
        cache = await stack.enter_async_context(aclosing(open_cache(settings)))
        server = Server(interceptors=interceptors)
        service = await add_service(server, Resources(database, cache))
        await stack.enter_async_context(
            hasten.monitoring(
                service=service.rpartition(".")[2].lower(),
                watch=(server, cache),
                slo=SLO,
                admin=settings.admin,
                admin_token=settings.admin_token,
            )
        )
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

"""What lives with an app is watched, as far as there is something to be read in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.testclient import TestClient

import hasten
from hasten.concurrency import Background, SyncEndpoints, ThreadPool
from hasten.events import Bus
from hasten.http.client import Client, ConnectFailed
from hasten.monitor import Monitor
from hasten.monitor import _catalogue as catalogue
from tests.load.servers import refused_url
from tests.monitor.test_signals import read


@asynccontextmanager
async def somebody_elses() -> AsyncIterator[None]:
    yield


def test_what_lives_with_an_app_is_watched() -> None:
    """Each part that is given as `bus=` is watched once, and nothing else is; only a bus has to be well."""
    client, bus, threads, tasks = Client("http://pricing"), Bus("memory://"), ThreadPool("images", 1), Background()
    app = FastAPI()
    parts = (client, bus, threads, tasks)
    hasten.install(app, bus=(*parts, SyncEndpoints(7), somebody_elses()), watch=[tasks], admin=None)
    monitor: Monitor = app.state.monitor
    assert sorted(map(id, monitor.watched)) == sorted(map(id, parts))
    assert {check.name for check in monitor.checks()} == {"app", "bus", "broker"}
    assert set(read(monitor, catalogue.POOL_WAITING)) == {("pricing",)}


def test_a_client_lives_with_an_app() -> None:
    """It is closed when the app has stopped, and calls again when the app starts again."""
    client, app = Client(refused_url(), retry=None), FastAPI()

    @app.get("/")
    async def ask() -> str:
        try:
            await client.get("/")
        except ConnectFailed as error:
            return type(error).__name__
        raise AssertionError("nobody listens there")

    hasten.install(app, bus=client, admin=None)
    for _ in range(2):
        with TestClient(app) as testing:
            assert testing.get("/").json() == "ConnectFailed"
        assert asyncio.run(_is_closed(client))
    (labels,) = read(app.state.monitor, catalogue.HTTP_CLIENT_DURATION)
    assert labels[0::4] == ("GET", "ConnectFailed")


async def _is_closed(client: Client) -> bool:
    try:
        await client.get("/")
    except hasten.HastenError as error:
        return "is closed" in str(error)
    return False

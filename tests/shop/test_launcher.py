"""The launcher says in one line what went wrong, and leaves nothing running."""

import asyncio
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.shop.launcher import EDITIONS, ROOT, STAND_INS, Edition, Service, ShopFailed, run
from tests.shop.running import launch

STAND_INS_ALONE = (
    "import asyncio, pathlib; from examples.shop.launcher import STAND_INS, Edition, run;"
    "asyncio.run(run(Edition('stand-ins', STAND_INS), 0, pathlib.Path('unused')))"
)


def test_port_in_use(data_set: Path) -> None:
    """A port that somebody else has is one clear line and exit code 3."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        command = ["-m", "examples.shop", "slow", "--port", str(port), "--database", str(data_set)]
        ended = subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
        )
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert ended.stderr == f"shop: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_unwritable_database(tmp_path: Path) -> None:
    """A database that cannot be made is one clear line and exit code 3."""
    (tmp_path / "file").touch()
    command = [
        "-m",
        "examples.shop",
        "slow",
        "--port",
        "0",
        "--database",
        str(tmp_path / "file" / "shop.sqlite"),
    ]
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-1].startswith("shop: cannot make the data set")
    assert "Traceback" not in ended.stderr


def test_child_that_dies(tmp_path: Path) -> None:
    """A service that cannot start is named, with its last words, and the others are ended."""
    broken = Service("broken", "examples.shop.nowhere:app", recorded=False)
    edition = Edition("broken", (*STAND_INS, broken))
    with pytest.raises(ShopFailed, match="broken ended early with exit code") as caught:
        asyncio.run(run(edition, 0, tmp_path / "unused"))
    assert "examples.shop.nowhere" in str(caught.value)


def test_stop() -> None:
    """SIGTERM ends every process, and the exit code is 0."""
    launched = launch(["-c", STAND_INS_ALONE])
    address = urlsplit(launched.url)
    assert launched.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))


def test_first_service_is_public() -> None:
    """The given port is the storefront's in every edition."""
    assert {edition.services[0].name for edition in EDITIONS.values()} == {"storefront"}


def test_several_storefronts() -> None:
    """Each of several storefronts is named, and told to the public; the other services are there once."""
    edition = EDITIONS["fast"].with_storefronts(3)
    names = [service.name for service in edition.services]
    assert names == [
        "storefront",
        "storefront2",
        "storefront3",
        "catalog",
        "pricing",
        "stock",
        "reviews",
        "payments",
        "mail",
    ]
    ports = range(8_000, 8_000 + len(names))
    public = "listening on http://127.0.0.1:8000 http://127.0.0.1:8001 http://127.0.0.1:8002"
    alone = f"shop: fast edition, cache in memory alone, events in the storefront, {public}"
    assert edition.greeting(ports, {}) == alone
    with_redis = {"SHOP_REDIS_URL": "redis://:secret@localhost/0", "SHOP_BROKER_URL": "amqps://me:secret@localhost"}
    together = f"shop: fast edition, cache in memory and Redis, events in RabbitMQ, {public}"
    assert edition.greeting(ports, with_redis) == together
    assert EDITIONS["slow"].greeting([8_000], with_redis) == "shop: slow edition listening on http://127.0.0.1:8000"


def test_consumers() -> None:
    """Where there is a broker the consumers are started behind the storefronts, and else not at all."""
    edition = EDITIONS["fast"].with_storefronts(2)
    names = [service.name for service in edition.services]
    with_broker = edition.for_environment({"SHOP_BROKER_URL": "kafka://localhost:9092"})
    assert [service.name for service in with_broker.services] == [*names[:2], "consumers", *names[2:]]
    assert "examples.shop.fast.consumers:bus" in with_broker.services[2].command(0)
    alone = edition.for_environment({"SHOP_BROKER_URL": ""})
    assert (alone.services, alone.consumers) == (edition.services, ())
    slow = EDITIONS["slow"]
    assert slow.for_environment({"SHOP_BROKER_URL": "amqp://localhost"}).services == slow.services


def test_grpc_service() -> None:
    """A gRPC service is told to the others as a target, and is ready when it takes connections."""
    service = next(service for service in EDITIONS["fast"].services if service.name == "stock")
    assert service.address(5001) == "dns:///127.0.0.1:5001"
    assert service.question(5001) == b""
    assert "examples.shop.fast.stock:add_service" in service.command(5001)

"""The fast edition's processes finish what they began before they end."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from examples.shop.fast import stock
from examples.shop.fast.serving import serving
from examples.shop.launcher import ROOT
from examples.shop.proto.stock_pb2 import GetLevelsRequest
from examples.shop.proto.stock_pb2_grpc import StockStub
from hasten.rpc import Channel
from tests.shop.in_process import Calls, settings_for


def test_call_in_flight(data_set: Path) -> None:
    """A call that is under way when its service stops is answered."""

    async def run() -> None:
        begun, go_on, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def hold(_: str) -> None:
            begun.set()
            await go_on.wait()

        async def serve() -> None:
            async with serving(stock.add_service, "127.0.0.1:0", settings_for(data_set), [Calls(before=hold)]) as bound:
                port.set_result(bound)
                await stop.wait()

        served = asyncio.ensure_future(serve())
        async with Channel(f"dns:///127.0.0.1:{await port}") as channel:
            await channel.channel_ready()
            call = StockStub(channel).GetLevels(GetLevelsRequest(product_ids=[1]), timeout=30)
            await begun.wait()
            stop.set()
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)  # the server has said that it goes
            go_on.set()
            assert [level.product_id for level in (await call).levels] == [1]
        await served

    asyncio.run(run())


def test_health(data_set: Path) -> None:
    """A service that is ready says so to a gRPC health check."""

    async def run() -> None:
        async with (
            serving(stock.add_service, "127.0.0.1:0", settings_for(data_set)) as port,
            Channel(f"dns:///127.0.0.1:{port}") as channel,
        ):
            stub: Any = HealthStub(channel)  # its types leave the methods out
            answer = await stub.Check(HealthCheckRequest(service="shop.v1.Stock"), timeout=30)
            assert answer.status == HealthCheckResponse.SERVING

    asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal(data_set: Path, number: signal.Signals) -> None:
    """A service ends with exit code 0 at a stop signal, and has nothing to complain about."""
    command = [sys.executable, "-m", "examples.shop.fast", "examples.shop.fast.pricing:add_service"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={"SHOP_DATABASE": str(data_set)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("shop: examples.shop.fast.pricing listening on 127.0.0.1:")
        process.send_signal(number)
        _, messages = process.communicate(timeout=20)
    assert (process.returncode, messages) == (0, "")

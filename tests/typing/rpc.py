"""What type checkers see of hasten.rpc: checked, never run."""

import ssl
from typing import Any, assert_type

import grpc

from hasten.resilience import RetryBudget
from hasten.rpc import CallFinished, CallSignal, CallStarted, Channel, Limits, Server, channel_credentials

server: grpc.aio.Server = Server(limits=Limits(message_bytes=1 << 20), maximum_concurrent_rpcs=100)
channel: grpc.aio.Channel = Channel("dns:///stock:50051", balancing="p2c", retry_budget=RetryBudget(0.2))
several: grpc.aio.Channel = Channel(["10.0.0.1:50051", "10.0.0.2:50051"], balancing="round_robin")
assert_type(server.add_insecure_port("127.0.0.1:0"), int)
assert_type(channel_credentials(), ssl.SSLContext)


def listen(signal: CallSignal) -> None:
    if isinstance(signal, CallFinished):
        assert_type(signal.seconds, float)
    else:
        assert_type(signal, CallStarted)


hooked = Channel("stock:50051", hooks=[listen])


async def call() -> None:
    async with hooked as opened:
        assert_type(opened, Channel)
        response: Any = await opened.unary_unary("/shop.Stock/Get")(b"7", timeout=0.2, metadata=(("k", "v"),))
        print(response)
        async for message in opened.unary_stream("/shop.Stock/Watch")(b"7"):
            print(message)
    assert_type(hooked.get_state(), grpc.ChannelConnectivity)

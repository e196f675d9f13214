"""gRPC between services on our own HTTP/2 transport, behind grpc.aio's abstract classes.

    server = Server()                                  # in place of grpc.aio.server()
    channel = Channel("dns:///stock:50051")            # in place of grpc.aio.insecure_channel(...)

Generated code, servicers, interceptors, health checking and reflection go on unchanged. `wire` turns bytes into values
and back, `transport` is the HTTP/2 connection of both sides, `server` and `channel` are the sides.
"""

from hasten._core.signals import CallFinished, CallHook, CallSignal, CallStarted
from hasten.rpc._credentials import channel_credentials, server_credentials
from hasten.rpc._limits import Limits
from hasten.rpc.channel import Channel
from hasten.rpc.server import Server

__all__ = (
    "CallFinished",
    "CallHook",
    "CallSignal",
    "CallStarted",
    "Channel",
    "Limits",
    "Server",
    "channel_credentials",
    "server_credentials",
)

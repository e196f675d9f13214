"""gRPC between services on our own HTTP/2 transport, behind grpc.aio's abstract classes."""

from hasten.rpc._credentials import channel_credentials, server_credentials
from hasten.rpc._limits import Limits
from hasten.rpc.channel._channel import Channel
from hasten.rpc.server._server import Server

__all__ = ("Channel", "Limits", "Server", "channel_credentials", "server_credentials")

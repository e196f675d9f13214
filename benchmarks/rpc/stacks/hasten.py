"""hasten.rpc with its default limits, on uvloop."""

import ssl
from pathlib import Path

from benchmarks.rpc._certificate import CERTIFICATE, KEY
from benchmarks.rpc.stacks._grpc import Parts
from hasten.rpc import Channel, Server, channel_credentials, server_credentials


def _secure_channel(address: str, folder: Path) -> Channel:
    return Channel(address, credentials=channel_credentials(folder / CERTIFICATE))


def _server_credentials(folder: Path) -> ssl.SSLContext:
    return server_credentials(folder / CERTIFICATE, folder / KEY)


PARTS = Parts(Server, Channel, _secure_channel, _server_credentials)

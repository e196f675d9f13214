"""grpc.aio: on uvloop with its default poller and default options, which is how it is fastest."""

from pathlib import Path

import grpc.aio

from benchmarks.rpc._certificate import CERTIFICATE, KEY
from benchmarks.rpc.stacks._grpc import Parts


def _secure_channel(address: str, folder: Path) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials((folder / CERTIFICATE).read_bytes())
    return grpc.aio.secure_channel(address, credentials)


def _server_credentials(folder: Path) -> grpc.ServerCredentials:
    pair = (folder / KEY).read_bytes(), (folder / CERTIFICATE).read_bytes()
    return grpc.ssl_server_credentials([pair])


PARTS = Parts(grpc.aio.server, grpc.aio.insecure_channel, _secure_channel, _server_credentials)

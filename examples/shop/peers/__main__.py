"""`python -m examples.shop.peers`: serve one of the gRPC services on uvloop until SIGTERM or SIGINT."""

import argparse
import asyncio
import os
import pkgutil
import signal

import uvloop

from examples.shop.peers.serving import AddService, serving
from examples.shop.peers.settings import Settings


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.shop.peers", description=__doc__)
    parser.add_argument("service", help="module:attribute, as examples.shop.peers.stock:add_service")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, picks a free one")
    options = parser.parse_args()
    uvloop.run(serve(pkgutil.resolve_name(options.service), options.host, options.port))


async def serve(add_service: AddService, host: str, port: int) -> None:
    """Serve until a stop signal comes, then let calls in flight finish."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(add_service, f"{host}:{port}", Settings.from_environment(os.environ)) as bound:
        print(f"shop: {add_service.__module__} listening on {host}:{bound}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()

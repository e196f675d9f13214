"""The fault service as a process: prints its port once it listens, drains on SIGTERM and ends with 0."""

import argparse
import asyncio
import signal

from tests.rpc.faults._service import Serving

GRACE_SECONDS = 10.0


async def serve(port: int, *, reuse_port: bool) -> None:
    """Serve until SIGTERM comes and all open calls have ended."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Serving(port, options=[("grpc.so_reuseport", int(reuse_port))]) as serving:
        print(serving.port, flush=True)
        await stopping.wait()
        await serving.server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--reuse-port", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.port, reuse_port=chosen.reuse_port))

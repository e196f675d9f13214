"""nghttp2's own client programs against our server: h2load for many requests at once, nghttp to see each frame."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import LoopFactory
from tests.rpc.foreign._processes import Ended, run
from tests.rpc.foreign._serving import serving
from tests.rpc.interop._servicer import Context, InteropServicer
from tests.rpc.interop.protos.empty_pb2 import Empty
from tests.rpc.interop.protos.messages_pb2 import SimpleRequest, SimpleResponse

SERVICE = "/grpc.testing.TestService"
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
REQUESTS = 2_000
GRPC_STATUS = re.compile(r"recv \(stream_id=\d+\) grpc-status: (\d+)$", re.MULTILINE)
RECEIVED_DATA = re.compile(r"recv DATA frame <length=(\d+), ")


class CountingServicer(InteropServicer):
    """Counts the calls that reach a handler."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def EmptyCall(self, request: Empty, context: Context) -> Empty:  # noqa: N802 (as in the .proto file)
        self.calls += 1
        return await super().EmptyCall(request, context)


def framed(message: bytes) -> bytes:
    """Return a message with gRPC's prefix: not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def h2load(executable: str, data: Path, *options: str) -> tuple[Ended, int]:
    """Run h2load; return how it ended and how many calls reached a handler."""
    data.write_bytes(framed(Empty().SerializeToString()))
    servicer = CountingServicer()
    async with serving(servicer=servicer) as port:
        url = f"http://127.0.0.1:{port}{SERVICE}/EmptyCall"
        ended = await run(executable, "-n", str(REQUESTS), *options, "-d", str(data), *HEADERS, url)
    return ended, servicer.calls


async def nghttp(executable: str, data: Path, request: SimpleRequest, *options: str) -> Ended:
    """Make one unary call with nghttp, which says every frame that it sends and receives."""
    data.write_bytes(framed(request.SerializeToString()))
    async with serving() as port:
        url = f"http://127.0.0.1:{port}{SERVICE}/UnaryCall"
        return await run(executable, "-v", "-n", *options, "-d", str(data), *HEADERS, url)


@pytest.mark.parametrize("options", [("-c1", "-m64"), ("-c4", "-m16"), ("-c1", "-m1")], ids=" ".join)
def test_h2load(
    options: tuple[str, ...], peer: Callable[[str], str], loop_factory: LoopFactory, tmp_path: Path
) -> None:
    """Every one of 2,000 requests is answered with 200, over one connection and over several."""
    executable = peer("h2load")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        ended, calls = runner.run(h2load(executable, tmp_path / "message", *options))
    assert calls == REQUESTS
    assert f"{REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in ended.output
    assert f"status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx" in ended.output


@pytest.mark.parametrize(
    "options",
    [(), ("--padding=100",), ("--window-bits=10",), ("--header-table-size=0",), ("--no-dep",)],
    ids=["plain", "padded-frames", "small-window", "no-dynamic-table", "no-priority"],
)
def test_nghttp(
    options: tuple[str, ...], peer: Callable[[str], str], loop_factory: LoopFactory, tmp_path: Path
) -> None:
    """One call brings the whole response in DATA frames and then grpc-status 0 in trailers."""
    executable = peer("nghttp")
    response = SimpleResponse(payload={"body": bytes(50_000)})
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        ended = runner.run(nghttp(executable, tmp_path / "message", SimpleRequest(response_size=50_000), *options))
    output = re.sub(r"\x1b\[[0-9;]*m", "", ended.output)
    assert ended.code == 0, ended.messages
    assert GRPC_STATUS.findall(output) == ["0"]
    received = list(RECEIVED_DATA.finditer(output))
    assert sum(int(frame[1]) for frame in received) == len(framed(response.SerializeToString()))
    assert output.rindex("grpc-status: 0") > received[-1].end()

"""The trial of memory: what a server holds for an idle connection, and for a call whose handler waits.

A new server each turn, since memory that was freed is used again and would not be seen. The kernel's socket buffers are
in nobody's figure.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.rpc._probe import Probe
from benchmarks.rpc._server import RpcServer
from benchmarks.rpc._stack import Place
from hasten._core.errors import InvalidMeasurement

MEMORY_CASE = "memory"
UNITS: Mapping[str, str] = {"connection": "KiB", "stream": "KiB"}
_CONNECTIONS, _STREAMS = 500, 500
ABOUT = f"resident memory per idle connection ({_CONNECTIONS}) and per call that waits ({_STREAMS} on one connection)"
_WARM_UP = 8
_HOLD = "/bench.Echo/Hold"


@dataclass(slots=True)
class MemoryTrial:
    """Connections first, then calls on one of them."""

    subject: str
    place: Place
    core: int
    case: str = MEMORY_CASE
    turns: int = 1
    _measured: list[tuple[float, float]] = field(default_factory=list)

    def turn(self, seed: int) -> None:
        """Start a server and fill it; `seed` changes nothing.

        Raises:
          InvalidMeasurement: the server refused a connection or a call.
        """
        with RpcServer(self.subject, self.place, self.core) as server, ExitStack() as opened:
            try:
                self._measured.append(_fill(server, opened))
            except OSError as error:
                raise InvalidMeasurement(f"memory of {self.subject}", str(error)) from None

    def figures(self) -> Mapping[str, float]:
        """Return KiB per connection and per call, of the turns since the last call."""
        connection, stream = (fmean(values) for values in zip(*self._measured, strict=True))
        self._measured.clear()
        return {"connection": connection / 1024, "stream": stream / 1024}


def _fill(server: RpcServer, opened: ExitStack) -> tuple[float, float]:
    """Return bytes per connection and per call."""
    for _ in range(_WARM_UP):
        opened.enter_context(Probe(server.address)).call(_HOLD, _WARM_UP)
    empty = server.resident_bytes()
    probes = [opened.enter_context(Probe(server.address)) for _ in range(_CONNECTIONS)]
    connected = server.resident_bytes()
    probes[0].call(_HOLD, _STREAMS)
    full = server.resident_bytes()
    return (connected - empty) / _CONNECTIONS, (full - connected) / _STREAMS

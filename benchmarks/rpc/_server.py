"""The server of a subject: `python -m benchmarks.rpc._server STACK TRANSPORT FOLDER`."""

import sys
from pathlib import Path

from benchmarks._child import die_with_parent
from benchmarks._processes import PinnedProcess
from benchmarks.rpc._stack import Place, Transport, find_stack


class RpcServer(PinnedProcess):
    """The server's process, seen from the benchmark."""

    def __init__(self, stack: str, place: Place, core: int) -> None:
        command = [sys.executable, "-m", "benchmarks.rpc._server", stack, place.transport, str(place.folder)]
        super().__init__(f"server of {stack} over {place.transport}", command, core)


if __name__ == "__main__":
    die_with_parent()
    name, transport, folder = sys.argv[1:]
    find_stack(name).serve(Place(Transport(transport), Path(folder)))

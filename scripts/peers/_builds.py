"""Building peers, all at the same time, each in a folder that takes its place in the cache when it is complete."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from peers._machine import end, last_words, on_path, say, start
from peers._tools import BuiltTool, cache_folder

BUILD_WITHIN = 900.0  # seconds for all; about 90 on two cores with nothing fetched before
# A go.work above the cache is not ours; without C the builds are quicker and need no compiler for it.
ENVIRONMENT = {"GOWORK": "off", "CGO_ENABLED": "0"}


class Build:
    """One build that runs."""

    def __init__(self, tool: BuiltTool) -> None:
        self.tool = tool
        self.began = time.monotonic()
        cache_folder().mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f".{tool.name}-", dir=cache_folder()))
        name, text = tool.manifest
        (self.folder / name).write_text(text)
        self.log = self.folder / "log"
        command = [on_path(tool.builder) or tool.builder, *tool.arguments]
        self.process = start(command, self.log, folder=self.folder, environment={**os.environ, **ENVIRONMENT})

    def finish(self) -> None:
        """Put what was built in its place, or say why there is nothing."""
        took = time.monotonic() - self.began
        if self.process.returncode:
            say(f"{self.tool.name} {self.tool.version} cannot be built: {last_words(self.log, 3)}")
            return
        with contextlib.suppress(OSError):  # another run of this script put its own there first: as good
            self.folder.rename(self.tool.folder)
        say(f"{self.tool.name} {self.tool.version} built in {took:.0f} s")

    def end(self) -> None:
        """End it if it still runs, and remove what has not been put in its place."""
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)


def build(tools: Iterable[BuiltTool]) -> None:
    """Build `tools`, whose builders are there; a failure is said and leaves its tool missing."""
    builds: list[Build] = []
    try:
        builds.extend(map(Build, tools))
        if builds:
            say(f"building {', '.join(one.tool.name for one in builds)}, once: they are kept in {cache_folder()}")
        await_all(builds)
    finally:
        for one in builds:
            one.end()


def await_all(builds: list[Build]) -> None:
    """Finish each build when its process ends, in that order; give up after BUILD_WITHIN."""
    running = list(builds)
    give_up = time.monotonic() + BUILD_WITHIN
    while running and time.monotonic() < give_up:
        for one in [one for one in running if one.process.poll() is not None]:
            running.remove(one)
            one.finish()
        time.sleep(0.05)
    for one in running:
        say(f"{one.tool.name} {one.tool.version} is not built after {BUILD_WITHIN:.0f} s")

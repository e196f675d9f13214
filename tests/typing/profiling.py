"""What is captured by itself, as a type checker sees it; checked by mypy, never run."""

from pathlib import Path
from typing import assert_type

from fastapi import FastAPI

import hasten
from hasten.monitor import Monitor
from hasten.profiling import CaptureOptions, ProfileOptions

app = FastAPI()
assert_type(hasten.install(app, profile=True), FastAPI)
options = ProfileOptions(folder=Path("profiles"), keep=50, hold=1.0, alerts=("SLOBurnFast",), engine="py-spy")
hasten.install(app, profile=options)
hasten.install(app, profile="yes")  # type: ignore[arg-type]
ProfileOptions(engine="perf")  # type: ignore[arg-type]
ProfileOptions("profiles")  # type: ignore[call-arg]
assert_type(options.capture, CaptureOptions)


async def process() -> None:
    async with hasten.monitoring(service="stock", profile=options) as monitor:
        assert_type(monitor, Monitor)

"""Where a run took place: without it, figures of two runs cannot be told apart."""

import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec

from benchmarks._processes import Cores
from hasten._core.errors import ConfigurationError


class Environment(msgspec.Struct, frozen=True):
    """Machine, interpreter, versions and choices of one run.

    Attributes:
      pinning: Which core served and which drove.
      load_average: Of the last minute, at the start.
      versions: Distribution name to version.
      conditions: What the benchmark chose for this run, for example its rates.
    """

    python: str
    cpu: str
    cores: int
    pinning: str
    kernel: str
    load_average: float
    seed: int
    versions: dict[str, str]
    conditions: dict[str, str] = {}


def observe(packages: tuple[str, ...], seed: int) -> Environment:
    """Describe this machine.

    Raises:
      ConfigurationError: one of `packages` is not installed.
    """
    cores = Cores.available()
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        pinning=f"server on core {cores.server}, client on core {cores.client}",
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
        seed=seed,
        versions={package: _version(package) for package in packages},
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigurationError("benchmarks", f"{package} is not installed", "run: make setup") from None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

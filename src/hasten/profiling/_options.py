"""How a profile is to be made: what the command line, the admin port and alerts ask for alike."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from hasten._core.errors import ConfigurationError

Engine = Literal["ledger", "py-spy", "yappi"]
Clock = Literal["wall", "cpu"]
ENGINES: tuple[str, ...] = get_args(Engine)
LONGEST = 300.0
"""Seconds that a capture takes at most."""
_SHORTEST = 0.1
_HIGHEST_RATE = 1000
_OF_PY_SPY = ("native", "gil", "idle", "subprocesses", "threads")
_CLOCKS: dict[str, tuple[str, ...]] = {"ledger": ("wall",), "py-spy": ("wall", "cpu"), "yappi": ("wall", "cpu")}


class CaptureOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be captured, and by what.

    Attributes:
      seconds: How long, 0.1 to LONGEST.
      clock: Time that functions took, or CPU time alone. The ledger tells both apart by its kinds of time, py-spy knows
        CPU time as that of threads that run.
      rate: Samples a second of engines that sample, 1 to 1000.
      endpoint: Only requests of this one, `GET /products/{id}`; empty for all. py-spy does not know endpoints.
      native: py-spy: C functions, too.
      gil: py-spy: only threads that hold the interpreter's lock.
      idle: py-spy: threads that sleep, too.
      subprocesses: py-spy: the process's children, too.
      threads: py-spy: the thread's name is the outermost frame.
    """

    engine: Engine = "ledger"
    seconds: float = 10.0
    clock: Clock = "wall"
    rate: int = 100
    endpoint: str = ""
    native: bool = False
    gil: bool = False
    idle: bool = False
    subprocesses: bool = False
    threads: bool = False

    def checked(self, where: str = "") -> "CaptureOptions":
        """Return these options if a profile can be made so.

        Args:
          where: Put in front of an option's name in messages: `--`.
        Raises:
          ConfigurationError: an option is out of bounds, or is another engine's.
        """
        if not _SHORTEST <= self.seconds <= LONGEST:
            raise ConfigurationError(f"{where}seconds", f"{self.seconds:g} is not from {_SHORTEST:g} to {LONGEST:g}")
        if not 1 <= self.rate <= _HIGHEST_RATE:
            raise ConfigurationError(f"{where}rate", f"{self.rate} is not from 1 to {_HIGHEST_RATE} a second")
        if self.clock not in _CLOCKS[self.engine]:
            remedy = "it tells CPU time apart by itself" if self.engine == "ledger" else ""
            raise ConfigurationError(f"{where}clock", f"{self.engine} has no {self.clock} clock to choose", remedy)
        given = [name for name in _OF_PY_SPY if getattr(self, name)]
        if given and self.engine != "py-spy":
            raise ConfigurationError(f"{where}{given[0]}", f"{self.engine} does not know it", "it is py-spy's")
        if self.endpoint and self.engine == "py-spy":
            raise ConfigurationError(f"{where}endpoint", "py-spy does not know endpoints", "take ledger or yappi")
        return self


def parse_options(query: Mapping[str, Sequence[str]]) -> CaptureOptions:
    """Return the options that the query of a URL asks for: `engine=ledger&seconds=10&endpoint=GET /a`.

    Raises:
      ConfigurationError: a name is unknown or stands twice, or a value is out of bounds.
    """
    settings: dict[str, Any] = {}
    for name, values in query.items():
        if name not in CaptureOptions.__struct_fields__:
            raise ConfigurationError(name, "unknown", f"there is {', '.join(CaptureOptions.__struct_fields__)}")
        if len(values) != 1:
            raise ConfigurationError(name, "given more than once")
        settings[name] = values[0]
    if settings.get("engine") == "py-spy":
        settings.setdefault("clock", "cpu")  # its wall clock shows every idle thread
    try:
        return msgspec.convert(settings, CaptureOptions, strict=False).checked()
    except msgspec.ValidationError as error:
        raise ConfigurationError("options", str(error)) from None

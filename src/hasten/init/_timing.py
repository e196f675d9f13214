"""How long a process takes to leave, and how long whoever ends it must wait: one source for all that is written.

SIGTERM ── lame duck ──> requests in flight, `grace` ──> the app's shutdown, `grace` again ──> it has ended
"""

import math

import msgspec

_MARGIN = 3
"""Seconds between the last that a process may need and SIGKILL."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of each part of a process's end.

    Attributes:
      grace: For requests in flight, and again for the app's shutdown: `--grace`.
      lame_duck: In which it serves on, not ready: `--lame-duck`.
      pre_stop: Between Kubernetes' decision and SIGTERM: until every node has heard that the pod takes no more.
    """

    grace: float = 10.0
    lame_duck: float = 2.0
    pre_stop: int = 5

    @property
    def stopping(self) -> int:
        """From SIGTERM to SIGKILL."""
        return math.ceil(self.lame_duck + 2 * self.grace) + _MARGIN

    @property
    def terminating(self) -> int:
        """Of Kubernetes: its clock runs from the beginning of preStop."""
        return self.pre_stop + self.stopping


def as_option(seconds: float) -> str:
    """Return a duration as options and variables of hasten have it: `10s`, `1500ms`."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"

"""Windows and burn rates of alerts, and times as PromQL writes them.

A burn rate of 1 spends an error budget exactly in the objective's window. An alert fires while both windows of a pair
burn faster than the pair's rate: the long one says that it matters, the short one that it still goes on.

    page      2 % of the budget in 1h (and 5m)     14.4 of a window of 30d
              5 % of the budget in 6h (and 30m)     6
    ticket   10 % of the budget in 1d (and 2h)      3
             10 % of the budget in 3d (and 6h)      1

An objective over another window has the same windows of alerts, and rates that spend the same share of its budget:
3.36 in place of 14.4 over 7d. No rate is below 1, at which the promise is kept.

Source: Google, The Site Reliability Workbook, chapter 5 ("Multiwindow, Multi-Burn-Rate Alerts").
"""

from typing import Literal

import msgspec

Severity = Literal["page", "ticket"]
_DAY = 86400.0
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


class Window(msgspec.Struct, frozen=True):
    """A time over which events are counted.

    Attributes:
      name: As the names of the recorded series end: `1h`.
      seconds: How long it is.
    """

    name: str
    seconds: float


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of windows, and how much of a budget is spent in the long one when an alert fires.

    Attributes:
      severity: Of the alert.
      share: Of the budget, between 0 and 1.
      short, long: The windows.
    """

    severity: Severity
    share: float
    short: Window
    long: Window

    def rate(self, window: Window) -> float:
        """Return the burn rate, for an objective over `window`, above which the alert fires."""
        return max(1.0, round(self.share * window.seconds / self.long.seconds, 6))


def _window(name: str) -> Window:
    return Window(name, float(name[:-1]) * {"m": 60.0, "h": 3600.0, "d": _DAY}[name[-1]])


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """All times of the rules, in seconds; what is there is what a production system wants.

    Attributes:
      interval: Between two evaluations.
      slow_interval: The same, for the window of the objective: it looks at ten thousands of samples.
      rate: Of the events per second that all windows add up.
      burns: The pairs of windows.
      scale: What all times but the intervals are multiplied by.
    """

    interval: float = 30.0
    slow_interval: float = 120.0
    rate: Window = _window("5m")
    burns: tuple[Burn, ...] = (
        Burn(severity="page", share=0.02, short=_window("5m"), long=_window("1h")),
        Burn(severity="page", share=0.05, short=_window("30m"), long=_window("6h")),
        Burn(severity="ticket", share=0.10, short=_window("2h"), long=_window("1d")),
        Burn(severity="ticket", share=0.10, short=_window("6h"), long=_window("3d")),
    )
    scale: float = 1.0

    def windows(self) -> tuple[Window, ...]:
        """Return the windows of all pairs and of the rate, the shortest first."""
        found = {self.rate, *(window for burn in self.burns for window in (burn.short, burn.long))}
        return tuple(sorted(found, key=lambda window: window.seconds))

    def objective_window(self, text: str) -> Window:
        """Return the window of an objective: `30d`."""
        window = _window(text)
        return Window(window.name, window.seconds * self.scale)

    def scaled(self, by: float, *, interval: float) -> "Timing":
        """Return these times, shorter or longer, for tests that cannot wait for an hour; names of series stay.

        Args:
          by: Factor of all windows and waits.
          interval: Between two evaluations.
        """

        def resized(window: Window) -> Window:
            return Window(window.name, window.seconds * by)

        burns = [
            msgspec.structs.replace(burn, short=resized(burn.short), long=resized(burn.long)) for burn in self.burns
        ]
        return Timing(
            interval=interval,
            slow_interval=interval,
            rate=resized(self.rate),
            burns=tuple(burns),
            scale=self.scale * by,
        )

    def wait(self, seconds: float) -> str:
        """Return how long something lasts or looks back, as PromQL writes it: `5m`."""
        return promql_duration(seconds * self.scale)


def promql_duration(seconds: float) -> str:
    """Return a time as PromQL writes it, `1h30m`, in whole milliseconds and at least one."""
    left = max(1, round(seconds * 1000))
    text = ""
    for unit, milliseconds in _UNITS:
        number, left = divmod(left, milliseconds)
        text += f"{number}{unit}" if number else ""
    return text

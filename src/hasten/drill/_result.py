"""What a drill finds: promises, each with the number asked and the number measured."""

import msgspec


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One promise, measured.

    Attributes:
      promise: What is promised, without its number: `goodput at 10 times the peak, of the peak`.
      asked: The bound; `measured` may be as much at most, or with `at_least` must be as much.
      measured: What was measured, in the same unit.
      unit: "%", "ms", "s", "µs", or what is counted: "calls"; empty for a plain ratio.
      beside: What was measured beside it, in the same run, doing the same: `plain uvicorn`; empty for nothing.
      beside_measured: What it did.
    """

    promise: str
    asked: float
    measured: float
    at_least: bool = False
    unit: str = ""
    beside: str = ""
    beside_measured: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return self.measured >= self.asked if self.at_least else self.measured <= self.asked


class DrillResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one drill.

    Attributes:
      drill: Its name.
      about: What it does, in one sentence.
      measures: Its promises; empty where it was not run.
      impossible: Why it was not run, or not to its end; empty where it was.
      seconds: It took.
    """

    drill: str
    about: str
    measures: tuple[Measure, ...] = ()
    impossible: str = ""
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether all its promises hold; True where it was not run."""
        return all(measure.kept for measure in self.measures)

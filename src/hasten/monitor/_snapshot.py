"""All metrics of a process at one moment: frozen, so that one thread renders it, another process adds it up."""

import msgspec

from hasten.monitor._metric import Metric


class Exemplar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One value of a bucket, with the trace that it belongs to.

    Attributes:
      trace_id: 32 hexadecimal digits.
      value: As it was observed.
      at: Unix time, seconds.
    """

    trace_id: str
    value: float
    at: float


class HistogramValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a histogram has counted.

    Attributes:
      counts: Of each bucket by itself, not cumulative; the last one is what lies above all bounds.
      total: Sum of the values.
      exemplars: The last traced value of each bucket; empty where there are none.
    """

    counts: tuple[int, ...]
    total: float
    exemplars: tuple[Exemplar | None, ...] = ()

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


Value = float | HistogramValue


class Series(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One series: its label values, in the order of the metric's labels, and its value."""

    values: tuple[str, ...]
    value: Value


class Family(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A metric and its series."""

    metric: Metric
    series: tuple[Series, ...]


class Snapshot(msgspec.Struct, frozen=True):
    """The metrics of one process.

    Attributes:
      service: Its name.
      worker: Its number among the processes of the service.
      started: When the process began, Unix time: another value is another process.
      at: When this was taken, Unix time.
      families: In the catalogue's order; a metric without a series is among them.
    """

    service: str
    worker: str
    started: float
    at: float
    families: tuple[Family, ...]

    def family(self, metric: Metric) -> Family:
        """Return the series of a metric, by its name.

        Raises:
          KeyError: it is none of the catalogue.
        """
        for family in self.families:
            if family.metric.name == metric.name:
                return family
        raise KeyError(metric.name)

"""A registry of prometheus_client that a monitor shares: each one's metrics are in the other's scrape.

    theirs in ours    `render` on the admin thread, by prometheus_client: exemplars, summaries and all else as they are
    ours in theirs    a collector in the registry, for `make_asgi_app` or whatever serves it already

This module alone imports prometheus_client, and is imported when somebody passes a registry.

`process_*` is told once in each scrape: ours by the admin port, those of prometheus_client's ProcessCollector by the
other. Any other name that both have is an error, where the registry knows the names: those of prometheus_client's own
metrics, and of collectors that describe themselves. Else a family of theirs with a name of ours is left out of ours.
"""

import logging
import threading
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as ForeignMetric
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.samples import Exemplar as ForeignExemplar

from hasten._core.errors import ConfigurationError
from hasten.monitor._catalogue import CATALOGUE
from hasten.monitor._exposition import bound_text
from hasten.monitor._metric import Metric
from hasten.monitor._snapshot import Exemplar, Family, HistogramValue, Snapshot

_PROCESS = "process_"
_EOF = "# EOF\n"
_logger = logging.getLogger("hasten.monitor")


class SharedRegistry:
    """A registry that has our metrics, and whose metrics we have.

    Its collectors are asked on the admin thread, as prometheus_client's own server asks them in threads. One that fails
    takes the metrics of its registry out of that scrape, not ours, and a warning says why.

    Args:
      registry: `prometheus_client.REGISTRY`, or the user's own.
      snapshot: Returns our metrics, in any thread.
      metrics: Those that may be in it.
    """

    def __init__(
        self, registry: CollectorRegistry, snapshot: Callable[[], Snapshot], metrics: tuple[Metric, ...] = CATALOGUE
    ) -> None:
        self._registry = registry
        self._snapshot = snapshot
        self._metrics = metrics
        self._names = frozenset(metric.name.removesuffix("_total") for metric in metrics)
        self._joined = False
        self._asking = _Asking()
        self._told: set[str] = set()

    # ---- ours in theirs

    def check(self) -> None:
        """Find out whether our metrics can be put into the registry, and leave it as it is.

        Raises:
          ConfigurationError: see `join`.
        """
        if not self._joined:
            self.join()
            self.leave()

    def join(self) -> None:
        """Put our metrics into the registry; nothing if they are there.

        Raises:
          ConfigurationError: the registry has one of our names, another service's metrics of hasten for example.
        """
        if self._joined:
            return
        try:
            self._registry.register(self)
        except ValueError as error:
            names = sorted(getattr(error, "duplicates", ())) or [str(error)]
            remedy = "rename them, or give hasten a registry of its own"
            raise ConfigurationError("registry", f"it has metrics of hasten's names: {names[0]}", remedy) from error
        self._joined = True

    def leave(self) -> None:
        """Take our metrics out of the registry; nothing if they are not there."""
        if self._joined:
            self._joined = False
            self._registry.unregister(self)

    def describe(self) -> Iterator[ForeignMetric]:
        """Return our families without samples, by which the registry knows their names."""
        for metric in self._metrics:
            if not metric.name.startswith(_PROCESS):
                yield _family_of(metric)

    def collect(self) -> Iterator[ForeignMetric]:
        """Return our families as they are now, in any thread; nothing where we ask the registry ourselves."""
        if self._asking.now:
            return
        snapshot = self._snapshot()
        for family in snapshot.families:
            if family.series and not family.metric.name.startswith(_PROCESS):
                yield _filled(family, snapshot.worker)

    # ---- theirs in ours

    def render(self, *, open_metrics: bool) -> str:
        """Return the text of the registry's metrics without ours, and without OpenMetrics' last line."""
        render = generate_open_metrics if open_metrics else generate_latest
        self._asking.now = True
        try:
            return render(_Others(self._others)).decode().removesuffix(_EOF)
        except Exception as error:  # a collector is anybody's code
            _logger.warning("a registry of prometheus_client cannot be read: %s: %s", type(error).__name__, error)
            return ""
        finally:
            self._asking.now = False

    def _others(self) -> Iterator[ForeignMetric]:
        for metric in self._registry.collect():
            if metric.name not in self._names:
                yield metric
            elif not metric.name.startswith(_PROCESS) and metric.name not in self._told:
                self._told.add(metric.name)
                _logger.warning("%s of a registry of prometheus_client is left out: hasten has that name", metric.name)


class _Asking(threading.local):
    """Whether this thread renders the registry for us."""

    now = False


class _Others:
    """What prometheus_client renders in the place of a registry."""

    def __init__(self, collect: Callable[[], Iterator[ForeignMetric]]) -> None:
        self.collect = collect


def _family_of(metric: Metric, labels: tuple[str, ...] = ()) -> ForeignMetric:
    if metric.kind == "histogram":
        return HistogramMetricFamily(metric.name, f"{metric.help}.", labels=labels, unit=metric.unit)
    if metric.kind == "gauge":
        unit = metric.unit if metric.name.endswith(f"_{metric.unit}") else ""
        return GaugeMetricFamily(metric.name, f"{metric.help}.", labels=labels, unit=unit)
    return CounterMetricFamily(metric.name, f"{metric.help}.", labels=labels, unit=metric.unit)


def _filled(family: Family, worker: str) -> ForeignMetric:
    """Return a family as prometheus_client knows it."""
    filled = _family_of(family.metric, ("worker", *family.metric.labels))
    for series in family.series:
        values = (worker, *series.values)
        if not isinstance(series.value, HistogramValue):
            filled.add_metric(values, series.value)  # type: ignore[attr-defined]
        else:
            buckets = list(_buckets(family.metric, series.value))
            filled.add_metric(values, buckets, series.value.total)  # type: ignore[attr-defined]
    return filled


def _buckets(metric: Metric, value: HistogramValue) -> Iterator[tuple[str, float] | tuple[str, float, ForeignExemplar]]:
    bounds = [*map(bound_text, metric.bounds), "+Inf"]
    exemplars: tuple[Exemplar | None, ...] = value.exemplars or (None,) * len(bounds)
    counted = 0
    for bound, count, exemplar in zip(bounds, value.counts, exemplars, strict=True):
        counted += count
        if exemplar is None:
            yield bound, float(counted)
        else:
            yield bound, float(counted), ForeignExemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.at)

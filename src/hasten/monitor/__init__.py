"""Metrics of a service: counted where things happen, read on another thread, drawn and alerted on by Prometheus.

    _catalogue      every metric, named once
    _recorder       their series: counted where things happen (`_series`), or read when asked for
    _requests, _calls, _messages, _caches, _runtime, _process     what happens, and which series that is
    _monitor        all of that for one process
    _snapshot       its metrics at one moment; `_exposition` renders them

docs/explanation/monitoring.md tells how, and what it costs.
"""

from hasten.monitor._catalogue import CATALOGUE
from hasten.monitor._exposition import OPEN_METRICS, TEXT, Exposition
from hasten.monitor._logs import add_trace, trace_logs
from hasten.monitor._metric import Metric
from hasten.monitor._monitor import Check, Monitor, Pool, is_bus
from hasten.monitor._routes import template_for
from hasten.monitor._snapshot import Exemplar, Family, HistogramValue, Series, Snapshot
from hasten.monitor._trace import outgoing_headers
from hasten.monitor._traces import Part, Work, boot_of_this_machine

__all__ = (
    "CATALOGUE",
    "OPEN_METRICS",
    "TEXT",
    "Check",
    "Exemplar",
    "Exposition",
    "Family",
    "HistogramValue",
    "Metric",
    "Monitor",
    "Part",
    "Pool",
    "Series",
    "Snapshot",
    "Work",
    "add_trace",
    "boot_of_this_machine",
    "is_bus",
    "outgoing_headers",
    "template_for",
    "trace_logs",
)

"""Objectives of services: read from slo.toml, checked against what a service has, made into rules and alerts.

_file        slo.toml ──> Objective, Service, Delivery
_surface     what an app has: buckets, routes, methods, topics; an objective about anything else is refused
_windows     burn rates, and times as PromQL writes them
_rules       objectives ──> recorded series (`_names`) and burn alerts, by the expressions of `_promql`
_causes      alerts for what makes a service slow or wrong
"""

from hasten.monitor.slo._alert import PROFILED
from hasten.monitor.slo._causes import cause_groups
from hasten.monitor.slo._file import Container, Delivery, Service, SloFile, parse_slo, read_objectives, read_slo
from hasten.monitor.slo._names import BUDGET, ERROR_RATIO, EVENTS, EVENTS_BAD, OBJECTIVE
from hasten.monitor.slo._objective import SERVER_FAULTS, Objective, bounds_of
from hasten.monitor.slo._rules import objective_groups, promise_of
from hasten.monitor.slo._surface import Surface, check_objectives, surface_of
from hasten.monitor.slo._windows import Burn, Timing, Window

__all__ = (
    "BUDGET",
    "ERROR_RATIO",
    "EVENTS",
    "EVENTS_BAD",
    "OBJECTIVE",
    "PROFILED",
    "SERVER_FAULTS",
    "Burn",
    "Container",
    "Delivery",
    "Objective",
    "Service",
    "SloFile",
    "Surface",
    "Timing",
    "Window",
    "bounds_of",
    "cause_groups",
    "check_objectives",
    "objective_groups",
    "parse_slo",
    "promise_of",
    "read_objectives",
    "read_slo",
    "surface_of",
)

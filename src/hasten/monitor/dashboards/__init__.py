"""Grafana's dashboards and what runs them, made from the catalogue of metrics and the objectives of services.

    _promql      queries        _panels      panels as plain dicts        _dashboard    rows, places, variables
    _overview, _service, _rpc, _events, _caches, _runtime     one page each; `_objectives`: what objectives add to them
    _pages          all of them
    _provisioning, _compose     files that start Grafana with them, beside Prometheus and Alertmanager

docs/how-to/dashboards.md shows them in use, and says what is proven of them.
"""

from hasten.monitor.dashboards._pages import dashboards
from hasten.monitor.dashboards._provisioning import grafana_files

__all__ = ("dashboards", "grafana_files")

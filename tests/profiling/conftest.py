"""The Prometheus and the Alertmanager of these tests; see tests/monitor/prometheus.py."""

from tests.monitor.conftest import alertmanager, prometheus

__all__ = ("alertmanager", "prometheus")

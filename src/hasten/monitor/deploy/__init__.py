"""What `hasten monitor` writes: configuration of Prometheus and Alertmanager, rules, Grafana's dashboards, compose.

    _prometheus     prometheus.yml and rules/*.yml
    _alertmanager   alertmanager.yml
    _files          all files by path, with those of `hasten.monitor.dashboards`
    _folder         the difference to what lies in a folder, and writing it

Needs PyYAML: `pip install 'hasten[monitor]'`.
"""

from hasten.monitor.deploy._alertmanager import Waits, alertmanager_config
from hasten.monitor.deploy._files import files
from hasten.monitor.deploy._folder import Drift, drift_of, write
from hasten.monitor.deploy._prometheus import prometheus_config, rule_files

__all__ = (
    "Drift",
    "Waits",
    "alertmanager_config",
    "drift_of",
    "files",
    "prometheus_config",
    "rule_files",
    "write",
)

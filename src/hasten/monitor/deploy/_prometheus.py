"""prometheus.yml, and the files of rules that it names."""

from typing import Any

from hasten.monitor.deploy._yaml import to_yaml
from hasten.monitor.slo import SloFile, Timing, cause_groups, objective_groups
from hasten.monitor.slo._windows import promql_duration

_EXEMPLARS = 100_000
_CONFIG_NOTES = (
    "Start Prometheus with --enable-feature=exemplar-storage: latency panels then link to traces.",
    "Keep at least as much as the longest window of an objective: --storage.tsdb.retention.time=31d for 30d.",
)


def rule_files(slo: SloFile, timing: Timing) -> dict[str, str]:
    """Return the files of rules by name: one for each service with objectives, one for causes."""
    files: dict[str, str] = {}
    runbooks = slo.delivery.runbooks
    for name in dict.fromkeys(objective.service for objective in slo.objectives):
        mine = [objective for objective in slo.objectives if objective.service == name]
        files[f"slo-{name}.yml"] = to_yaml({"groups": objective_groups(mine, timing, runbooks)})
    groups = cause_groups([service.name for service in slo.services], timing, runbooks)
    files["causes.yml"] = to_yaml({"groups": groups})
    return files


def prometheus_config(slo: SloFile, rules: list[str], timing: Timing) -> str:
    """Return prometheus.yml.

    Args:
      rules: Names of the files of rules. They are named one by one, so that a file of a service that is gone is not
        read any more.
    """
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": promql_duration(slo.delivery.scrape_interval),
            "evaluation_interval": promql_duration(timing.interval),
        },
        "storage": {"exemplars": {"max_exemplars": _EXEMPLARS}},
        "rule_files": [f"rules/{name}" for name in rules],
    }
    if slo.delivery.alertmanagers:
        managers = [{"static_configs": [{"targets": list(slo.delivery.alertmanagers)}]}]
        config["alerting"] = {"alertmanagers": managers}
    config["scrape_configs"] = [_scraped(service.name, service.targets, service.token_file) for service in slo.services]
    return to_yaml(config, *_CONFIG_NOTES)


def _scraped(name: str, targets: tuple[str, ...], token_file: str) -> dict[str, Any]:
    scraped: dict[str, Any] = {"job_name": name}
    if token_file:
        scraped["authorization"] = {"credentials_file": token_file}
    scraped["static_configs"] = [{"targets": list(targets)}]
    return scraped

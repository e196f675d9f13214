"""All files that `hasten monitor` writes."""

import json

from hasten.monitor.dashboards import dashboards, grafana_files
from hasten.monitor.deploy._alertmanager import alertmanager_config
from hasten.monitor.deploy._prometheus import prometheus_config, rule_files
from hasten.monitor.slo import SloFile, Timing


def files(slo: SloFile, timing: Timing | None = None) -> dict[str, str]:
    """Return the text of every file, by its path in the folder, `prometheus/rules/causes.yml`, sorted.

    Args:
      slo: What slo.toml says.
      timing: Of the rules, if it is to be another than production's.
    """
    timing = timing or Timing()
    rules = rule_files(slo, timing)
    made = {f"prometheus/rules/{name}": text for name, text in rules.items()}
    made["prometheus/prometheus.yml"] = prometheus_config(slo, list(rules), timing)
    made["alertmanager/alertmanager.yml"] = alertmanager_config(slo.delivery, services=slo.services)
    for name, dashboard in dashboards(slo.objectives).items():
        made[f"grafana/dashboards/{name}"] = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
    made |= grafana_files(
        slo.objectives, slo.services, containers=slo.containers, scrape_interval=slo.delivery.scrape_interval
    )
    return dict(sorted(made.items()))

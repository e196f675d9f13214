"""An alert: when it fires, how grave it is, what it says, and where its runbook is."""

from typing import Any

import msgspec

from hasten.monitor.slo._windows import Severity

PROFILED = (
    "SLOBurnFast",
    "SLOBurnSlow",
    "LoopBlocked",
    "LoopBlocking",
    "LoopLag",
    "GCTime",
    "ThreadPoolExhausted",
    "ConsumerStuck",
)
"""Alerts whose reason a profile of the process may show, by their names."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alerting rule.

    Attributes:
      name: In CamelCase; the heading of its section in docs/reference/alerts.md.
      expr: Fires for each series that it gives.
      wait: PromQL duration that it must hold for before that; empty for none.
      severity: `page` wakes somebody, `ticket` is looked at in the morning.
      labels: Further ones; may have templates.
      summary: One line with the numbers in it, a template of Prometheus.
      description: What else helps, a template.
    """

    name: str
    expr: str
    wait: str = ""
    severity: Severity
    labels: dict[str, str]
    summary: str
    description: str

    def rule(self, runbooks: str) -> dict[str, Any]:
        """Return it as a rule file has it.

        Args:
          runbooks: Address of docs/reference/alerts.md.
        """
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.wait:
            rule["for"] = self.wait
        rule["labels"] = {"severity": self.severity, **self.labels}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{runbooks}#{self.name.lower()}",
        }
        return rule


def literal(text: str) -> str:
    """Return text as it is written in a template, also if it has what templates begin with."""
    return text.replace("{{", '{{"{{"}}')

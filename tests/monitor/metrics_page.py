"""Writes the tables of docs/reference/metrics.md from the catalogue: `python -m tests.monitor.metrics_page`."""

import re
from pathlib import Path

from hasten.monitor import CATALOGUE, Metric

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
SECTIONS = {
    "http_server_request_duration_seconds": "Requests",
    "http_client_request_duration_seconds": "HTTP calls",
    "rpc_server_call_duration_seconds": "gRPC",
    "messaging_client_sent_messages_total": "Messages",
    "hasten_cache_requests_total": "Caches",
    "hasten_limiter_limit": "Limits",
    "hasten_breaker_state": "Breakers and pools",
    "hasten_loop_lag_seconds": "Event loop, tasks, garbage collection, threads",
    "hasten_ledger_seconds_total": "Where time goes, and readiness",
    "hasten_otlp_exports_total": "Export and the metrics themselves",
    "process_cpu_seconds_total": "The process",
}
"""Headings, each by the first metric below it."""
_TABLES = re.compile(r"(?<=<!-- catalogue -->\n).*(?=<!-- end -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """Return the page with the tables as they should be."""
    return _TABLES.sub(lambda _: tables(), page)


def tables() -> str:
    """Return a heading and a table for each section."""
    lines: list[str] = []
    for metric in CATALOGUE:
        if metric.name in SECTIONS:
            lines += ["", f"### {SECTIONS[metric.name]}", "", "| metric | type | labels | series | what it says |"]
            lines.append("|---|---|---|---|---|")
        lines.append(_row(metric))
    return "\n".join(lines) + "\n\n"


def _row(metric: Metric) -> str:
    kind = f"{metric.kind}, {metric.unit}" if metric.unit else metric.kind
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    most = f"{metric.most:,}" if metric.labels else "1"
    return f"| `{metric.name}` | {kind} | {labels} | {most} | {metric.help} |"


def buckets() -> list[tuple[str, tuple[float, ...]]]:
    """Return the bounds of each histogram, by its name."""
    return [(metric.name, metric.bounds) for metric in CATALOGUE if metric.bounds]


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))

"""Names of the recorded series: rules write them, alerts and dashboards read them.

All have the labels `slo` and `service`.
"""

EVENTS = "slo:events:rate5m"
"""Events per second; 0 in quiet times, never NaN."""
EVENTS_BAD = "slo:events_bad:rate5m"
"""Bad events per second; 0 without any."""
OBJECTIVE = "slo:objective:ratio"
"""The target: 0.99."""
ERROR_RATIO = "slo:error:ratio_rate"
"""Share of bad events in a window, whose name follows: `slo:error:ratio_rate1h`. Absent where there was no event."""
BUDGET = "slo:error_budget_remaining:ratio"
"""What is left of the error budget of the objective's window: 1 is all of it, below 0 the promise is broken."""

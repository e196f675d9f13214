"""Open-model load over HTTP and gRPC: what is due is sent when it is due, and every latency counts from that time.

    plan = Plan.from_file("plan.toml")          or Plan.for_url("http://127.0.0.1:8000/", rate=200)
    result = run(plan)                          or await run_plan(plan)
    result.require_valid().total.p99

A `Plan` says what to send; the generator renders it request by request (schedule), waits for each one's time
(pacer) and gives it to its client: its own HTTP/1.1 connections (pool, connection, http1), or channels of hasten.rpc
for gRPC methods (grpc). What becomes of it is counted by kind (outcomes, tally) and ends in a `LoadResult`, which also
tells how late the generator itself was and whether that changed the answer.
"""

from hasten.load._arrivals import arrival_times
from hasten.load._generator import Generator, Progress, run, run_plan
from hasten.load._parameters import Range, Values, Zipf
from hasten.load._plan import Plan
from hasten.load._request_kind import RequestKind
from hasten.load._result import KindResult, LoadResult, Problem, RequestRecords

__all__ = (
    "Generator",
    "KindResult",
    "LoadResult",
    "Plan",
    "Problem",
    "Progress",
    "Range",
    "RequestKind",
    "RequestRecords",
    "Values",
    "Zipf",
    "arrival_times",
    "run",
    "run_plan",
)

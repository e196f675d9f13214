"""How a type checker sees the load generator's API; checked by mypy, never run."""

from pathlib import Path
from typing import assert_type

from hasten.load import LoadResult, Plan, Progress, run, run_plan


def progress(now: Progress) -> None:
    assert_type(now.elapsed, float)


plan = Plan.from_file(Path("plan.toml"))
assert_type(plan, Plan)
assert_type(plan.with_target("http://127.0.0.1:8000"), Plan)
assert_type(run(plan, on_progress=progress), LoadResult)
run(plan, on_progress=print)
run(plan, progress)  # type: ignore[call-arg]


async def measured() -> LoadResult:
    return assert_type(await run_plan(plan, request_ids=True), LoadResult)

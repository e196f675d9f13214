"""A flood of what matters little: what becomes of what matters much."""

from collections.abc import Sequence

from hasten.drill._drill import Drill
from hasten.drill._result import Measure
from hasten.drill._retrying import OK
from hasten.drill._stage import Service, Stage
from hasten.drill.drills._rates import LATE, PATIENCE, PLAIN, WORKER, WORTH, guarded, peak_of
from hasten.load import Plan, RequestKind

_LOW, _HIGH = 12.0, 0.3  # times the peak


async def _run(stage: Stage) -> Sequence[Measure]:
    seconds = 1.0 if stage.quick else 10.0
    async with guarded(stage) as ours, stage.uvicorn(WORKER) as plain:
        peak = await peak_of(stage, ours, min(seconds, 3.0), most=_LOW + _HIGH)
        stage.say(f"{_LOW:g} times {peak:.0f} requests a second of low priority")
        answered = [await _answered(stage, each, peak, seconds) for each in (ours, plain)]
    return [
        Measure(
            promise=f"high priority answered within 100 ms, while {_LOW:g} times the peak comes with low priority",
            asked=99.4,
            measured=100.0 * answered[0],
            at_least=True,
            unit="%",
            beside=PLAIN,
            beside_measured=100.0 * answered[1],
        )
    ]


async def _answered(stage: Stage, service: Service, peak: float, seconds: float) -> float:
    """Return the share of the requests of high priority that is answered in time."""
    kinds = (
        RequestKind(name="high", path="/high", weight=_HIGH, expect=(200,)),
        RequestKind(name="low", path="/low", weight=_LOW, expect=(200, 503)),
    )
    plan = Plan(
        target=service.url,
        requests=kinds,
        rate=(_LOW + _HIGH) * peak,
        duration=seconds,
        warmup=1.0,
        timeout=PATIENCE,
        connections=1000,
    )
    result = await stage.load(plan, every=True, late=LATE)
    assert result.requests is not None
    rows = zip(result.requests.kinds, result.requests.latencies, result.requests.statuses, strict=True)
    high = [status == OK and latency <= WORTH for kind, latency, status in rows if kind == 0]
    return sum(high) / max(1, len(high))


SPIKE = Drill(
    name="spike", about="12 times what a service can do, of what matters little, beside what matters", run=_run
)

"""More requests than a service can answer: what it still answers in time, and how soon it is itself again."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from hasten.drill._drill import Drill
from hasten.drill._result import Measure
from hasten.drill._retrying import recovery
from hasten.drill._stage import Service, Stage
from hasten.drill.drills._rates import PLAIN, WORKER, Turns, guarded, peak_of

_TIMES = ((2, 95.0), (5, 90.0), (10, 80.0))  # of the peak, and the % of its goodput that are asked
_USUAL, _BUSY = 0.8, 0.9  # of the peak


async def _run(stage: Stage) -> Sequence[Measure]:
    seconds, rounds = (0.5, 1) if stage.quick else (3.0, 3)
    ours, plain = Turns(stage), Turns(stage)
    async with guarded(stage) as service:
        peak = await peak_of(stage, service, seconds, most=_TIMES[-1][0])
        for number in range(rounds):
            for times in (_USUAL, _BUSY, *(times for times, _ in _TIMES)):
                stage.say(f"{times} times {peak:.0f} requests a second, round {number + 1} of {rounds}")
                await ours.take(service, times, peak, seconds)
                async with _anew(stage) as other:
                    await plain.take(other, times, peak, seconds)
        stage.say("clients that send again, at twice the peak and then at 0.8 of it")
        recovered = await recovery(service, stage.path, peak, quick=stage.quick)
        async with _anew(stage) as other:
            recovered_plain = await recovery(other, stage.path, peak, quick=stage.quick)
    return [*_measures(ours, plain, peak), _recovered(recovered, recovered_plain)]


def _anew(stage: Stage) -> AbstractAsyncContextManager[Service]:
    """Serve by uvicorn, for one turn: for seconds after an overload it works for clients that have gone.

    That would be in the next turn's way, its own and ours: they share a core.
    """
    return stage.uvicorn(stage.target or WORKER)


def _measures(ours: Turns, plain: Turns, peak: float) -> list[Measure]:
    measures = [
        Measure(
            promise=f"answers within 100 ms at {times} times the peak, of the peak",
            asked=asked,
            measured=100.0 * ours.goodput(times) / peak,
            at_least=True,
            unit="%",
            beside=PLAIN,
            beside_measured=100.0 * plain.goodput(times) / peak,
        )
        for times, asked in _TIMES
    ]
    worst = max(ours.p99(times) for times, _ in _TIMES)
    return [
        *measures,
        Measure(
            promise=f"their p99, in times of that at {_USUAL} of the peak ({ours.p99(_USUAL) * 1e3:.0f} ms)",
            asked=2.0,
            measured=worst / ours.p99(_USUAL),
        ),
        Measure(
            promise=f"refused or late at {_BUSY} of the peak",
            asked=1.0,
            measured=100.0 * ours.refused(_BUSY),
            unit="%",
            beside=PLAIN,
            beside_measured=100.0 * plain.refused(_BUSY),
        ),
    ]


def _recovered(ours: float, plain: float) -> Measure:
    return Measure(
        promise="until 95 % are answered again, after an overload by clients that send again",
        asked=5.0,
        measured=ours,
        unit="s",
        beside=PLAIN,
        beside_measured=plain,
    )


OVERLOAD = Drill(
    name="overload",
    about="2, 5 and 10 times what a service can do, answers within 100 ms",
    run=_run,
    own=True,
)

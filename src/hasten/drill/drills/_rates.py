"""Services at rates that are multiples of the most they can answer."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from statistics import median

from hasten.drill._drill import Impossible
from hasten.drill._stage import Service, Stage
from hasten.load import LoadResult, Plan, RequestKind

WORTH = 0.1  # seconds in which an answer is of use
LATE = WORTH / 10
PATIENCE = 1.0  # seconds after which a client gives up, and connects anew for its next request
WORKER = "hasten.drill.subjects.worker:app"
PLAIN = "plain uvicorn"
_MOST_RATE = 12_000.0  # requests a second: the generator is honest up to 15,000


@dataclass(slots=True)
class Turn:
    """What has become of the requests of one turn.

    Attributes:
      goodput: Answers in time a second.
      p99: Of those, in seconds.
      refused: Share of the requests that was refused, or not answered.
    """

    goodput: float
    p99: float
    refused: float


@dataclass(slots=True)
class Turns:
    """What a service did at multiples of the peak; by these, in turns."""

    stage: Stage
    turns: dict[float, list[Turn]] = field(default_factory=dict)

    async def take(self, service: Service, times: float, peak: float, seconds: float) -> None:
        """Have a turn at a multiple of the peak."""
        self.turns.setdefault(times, []).append(await turn_at(self.stage, service, times * peak, seconds))

    def goodput(self, times: float) -> float:
        """Return the median of its turns."""
        return median(turn.goodput for turn in self.turns[times])

    def p99(self, times: float) -> float:
        """Return the median of its turns."""
        return median(turn.p99 for turn in self.turns[times])

    def refused(self, times: float) -> float:
        """Return the median of its turns."""
        return median(turn.refused for turn in self.turns[times])


async def turn_at(stage: Stage, service: Service, rate: float, seconds: float, *, warmup: float = 1.0) -> Turn:
    """Send so many requests a second, from clients that give up after `PATIENCE`."""
    kind = RequestKind(name="request", path=stage.path, expect=(200,))
    plan = Plan(
        target=service.url,
        requests=(kind,),
        rate=rate,
        duration=seconds,
        warmup=warmup,
        timeout=PATIENCE,
        connections=1000,
    )
    return _turn(await stage.load(plan, every=True, late=LATE))


def _turn(result: LoadResult) -> Turn:
    records = result.requests
    assert records is not None
    took = sorted(latency for _, latency, status in records.rows() if status == 200 and latency <= WORTH)
    p99 = took[int(0.99 * len(took))] if took else float("inf")
    return Turn(len(took) / result.measured, p99, 1.0 - len(took) / max(1, result.total.offered))


def guarded(stage: Stage) -> AbstractAsyncContextManager[Service]:
    """Serve the user's app, or the worker behind an edge, as `hasten run` does."""
    return stage.hasten(stage.target or WORKER, "--admin", "off", HASTEN_DRILL_EDGE="1")


async def peak_of(stage: Stage, service: Service, seconds: float, *, most: float) -> float:
    """Return the most answers in time a second: more and more requests are sent until they are not answered.

    Raises:
      Impossible: `most` times that is more than the generator can send.
    """
    rate, best = 50.0, 0.0
    while True:
        stage.say(f"looking for the peak: {rate:.0f} requests a second")
        turn = await turn_at(stage, service, rate, max(1.0, seconds / 2), warmup=0.5)
        best = max(best, turn.goodput)
        if turn.goodput < 0.8 * rate:
            break
        rate *= 1.5
    for times in (1.0, 1.1, 1.2):
        turn = await turn_at(stage, service, times * best, seconds, warmup=0.5)
        best = max(best, turn.goodput)
    if best * most > _MOST_RATE:
        raise Impossible(
            f"{best:.0f} requests a second are too quick: {most:g} times that is more than the generator can send; "
            "name a path that computes longer (--path)"
        )
    return best

"""A dependency that is silent, takes no connection, or has gone with its host: who waits for it, and who need not."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import inf
from statistics import median
from time import monotonic

from hasten.drill._calling import Called, by_http, drive, quantile
from hasten.drill._drill import Drill, Impossible
from hasten.drill._holes import Dependency, Hole, behind_a_proxy, refusing, silent
from hasten.drill._namespace import Namespace, namespace
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage
from hasten.drill.subjects.dependant import TIMEOUT

_BACKEND, _DEPENDANT = "hasten.drill.subjects.backend:app", "hasten.drill.subjects.dependant:app"
_USES, _OTHER = 100.0, 200.0  # requests a second
_WAITS = 0.03  # seconds from which a call has waited for the dependency
_SURE = 10  # calls in a row that fail without waiting: who only waits has three before each end of a timeout
_MOST, _QUICK = 10.0, 5.0  # calls, ms
_TENTH, _NOISE = 1.1, 0.001  # times, and seconds that a p99 differs by without a reason
_PROBES = 1.0  # a second
_WELL_AGAIN = 10.0  # seconds within which the service uses the dependency again
_START = 30.0  # seconds
_PEER = "a timeout alone"


@dataclass(slots=True)
class Round:
    """What came of one black hole.

    Attributes:
      paid: Calls that waited for the dependency before it was known to have gone; all of them where it never is.
      probes: Calls that did so afterwards, a second.
      rest: Seconds of the other calls since; of all calls where it never is known.
      before, during: p99 of what does not use the dependency, in seconds.
    """

    paid: int
    probes: float
    rest: Sequence[float]
    before: float
    during: float


@dataclass(slots=True)
class Subject:
    """A service, what its dependency falls into, and what came of each round.

    Attributes:
      knows: It can know that its dependency has gone.
    """

    service: Service
    hole: Hole
    knows: bool
    rounds: list[Round] = field(default_factory=list)

    async def take(self, well: float, ill: float) -> None:
        """Have a round: a while in which the dependency is well, then a while in which it is not."""
        await self._use_until_well()
        _, before = await self._drive(well)
        async with self.hole():
            uses, during = await self._drive(ill)
        self.rounds.append(read_round(uses, before, during, ill, knows=self.knows))

    async def _drive(self, seconds: float) -> tuple[list[Called], list[Called]]:
        """Return the calls to the path that uses the dependency, and to the one that does not."""
        urls = [self.service.url]
        options = {"retry": None, "breaker": None, "timeout": 5.0 * TIMEOUT}
        async with (
            by_http(urls, "/uses", **options) as use,
            by_http(urls, "/other", **options) as other,
            asyncio.TaskGroup() as group,
        ):
            uses = group.create_task(drive(use, _USES, seconds))
            others = group.create_task(drive(other, _OTHER, seconds))
        return uses.result(), others.result()

    async def _use_until_well(self) -> None:
        until = monotonic() + _WELL_AGAIN
        while not all(one.by for one in (await self._drive(0.2))[0]):
            if monotonic() > until:
                raise Impossible(f"the dependency is well, and not used {_WELL_AGAIN:g} s later")

    def middle(self, value: Callable[[Round], float]) -> float:
        """Return the median of a value of its rounds."""
        return median(map(value, self.rounds))


def read_round(
    uses: Sequence[Called], before: Sequence[Called], during: Sequence[Called], seconds: float, *, knows: bool
) -> Round:
    """Return what a round of so many seconds says, by the calls that use the dependency and those that do not."""
    known = known_at(uses) if knows else inf
    waited = [one.at for one in uses if one.seconds >= _WAITS]
    paid = sum(at < known for at in waited)
    p99_before, p99_during = (quantile([one.seconds for one in its], 0.99) for its in (before, during))
    return Round(
        paid=paid,
        probes=(len(waited) - paid) / seconds,
        rest=[one.seconds for one in uses if not knows or (one.at >= known and one.seconds < _WAITS)],
        before=p99_before,
        during=p99_during,
    )


def known_at(uses: Sequence[Called]) -> float:
    """Return when the service began to ask its dependency no more; infinite if it never did."""
    row: list[Called] = []
    for one in sorted(uses, key=lambda one: one.at):
        row = [] if one.by or one.seconds >= _WAITS else [*row, one]
        if len(row) == _SURE:
            return row[0].at
    return inf


async def _run(stage: Stage) -> Sequence[Measure]:
    measures = []
    async with stage.hasten(_BACKEND, "--admin", "off") as backend:
        for hole, name in ((silent, "says nothing"), (refusing, "takes no connection")):
            measures += await _take_rounds(stage, name, partial(behind_a_proxy, backend, hole))
    with ExitStack() as made:
        try:
            host = made.enter_context(namespace())
        except Impossible as error:
            stage.say(f"a dependency whose host has gone is left out: {error}")
            return measures
        async with _served_by(host, stage) as url:
            measures += await _take_rounds(stage, "has gone with its host", lambda: nullcontext((url, host.gone)))
    return measures


async def _take_rounds(stage: Stage, name: str, dependency: Dependency) -> list[Measure]:
    well, ill, rounds = (0.5, 1.5, 1) if stage.quick else (5.0, 5.0, 3)
    async with _subject(stage, dependency, knows=True) as ours, _subject(stage, dependency, knows=False) as plain:
        for number in range(rounds):
            for subject in (ours, plain):
                stage.say(f"a dependency that {name}, round {number + 1} of {rounds}")
                await subject.take(well, ill)
    return _measures(name, ours, plain)


@asynccontextmanager
async def _subject(stage: Stage, dependency: Dependency, *, knows: bool) -> AsyncIterator[Subject]:
    async with dependency() as (url, hole):
        environment = {"HASTEN_DRILL_NEXT": url, "HASTEN_DRILL_BREAKER": str(int(knows))}
        async with stage.hasten(_DEPENDANT, "--admin", "off", **environment) as service:
            yield Subject(service, hole, knows)


@asynccontextmanager
async def _served_by(host: Namespace, stage: Stage) -> AsyncIterator[str]:
    """Serve the dependency on another host, and return its URL."""
    where = ("--host", host.address, "--port", "0", "--admin", "off")
    command = [*host.entering, sys.executable, "-m", "hasten", "run", _BACKEND, *where]
    async with stage.started(_BACKEND, command, {}) as process:
        yield await asyncio.to_thread(process.wait_listening, _START)


def _measures(name: str, ours: Subject, plain: Subject) -> list[Measure]:
    before = ours.middle(lambda its: its.before)
    return [
        Measure(
            promise=f"calls that wait for their timeout until it is known that the dependency {name}",
            asked=_MOST,
            measured=ours.middle(lambda its: its.paid),
            unit="calls",
            beside=_PEER,
            beside_measured=plain.middle(lambda its: its.paid),
        ),
        Measure(
            promise="calls that wait for it afterwards, to see whether it is back, a second",
            asked=_PROBES,
            measured=ours.middle(lambda its: its.probes),
            unit="calls",
        ),
        Measure(
            promise="p99 of all other calls that need the dependency",
            asked=_QUICK,
            measured=1e3 * ours.middle(lambda its: quantile(its.rest, 0.99)),
            unit="ms",
            beside=_PEER,
            beside_measured=1e3 * plain.middle(lambda its: quantile(its.rest, 0.99)),
        ),
        Measure(
            promise=f"p99 of requests that do not need it, a tenth (or {1e3 * _NOISE:.0f} ms) more than before",
            asked=1e3 * max(_TENTH * before, before + _NOISE),
            measured=1e3 * ours.middle(lambda its: its.during),
            unit="ms",
            beside=_PEER,
            beside_measured=1e3 * plain.middle(lambda its: its.during),
        ),
    ]


BLACK_HOLE = Drill(
    name="black-hole",
    about="a dependency that says nothing more, one that takes no connection, and one whose host has gone",
    run=_run,
)

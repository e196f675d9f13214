"""An event loop that is held: whether the service can still be asked how it is, and says what holds it."""

import asyncio
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import msgspec

from hasten._core.errors import HastenError
from hasten.drill._calling import quantile
from hasten.drill._drill import Drill, Impossible
from hasten.drill._result import Measure
from hasten.drill._stage import Service, Stage
from hasten.drill.subjects import held
from hasten.http.client import Client, Limits

_APP = "held:app"
_RATE = 50.0  # questions a second
_ASKED = 0.05  # seconds until an answer
_SEEN = 0.5  # seconds that the loop is held before an answer must say by what
_PATIENCE = 10.0  # seconds beyond those that the loop is held
_LIVE = re.compile(r"is seen live on (http://\S+)")
PLAIN = "a route on plain uvicorn"
KINDS: tuple[tuple[str, Callable[[float], None], str], ...] = (
    ("/sleep", held.hold_asleep, "by a call that sleeps"),
    ("/compute", held.hold_computing, "by Python that computes"),
)
"""What is asked to hold the loop, what does it, and how it is called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of those that were asked for while the loop was held.

    Attributes:
      asked: When that was to be, in seconds after the loop was to be held.
      took: Seconds from then to the whole answer; infinite without one.
    """

    asked: float
    took: float
    body: bytes


class Said(msgspec.Struct, frozen=True):
    """What /livez says: how the loop is, and where it is held."""

    status: str = ""
    at: str = ""


async def _run(stage: Stage) -> Sequence[Measure]:
    seconds = 1.0 if stage.quick else 5.0
    file = stage.folder / "held.py"
    shutil.copy(held.__file__, file)  # there it is a user's: lines of hasten are never blamed
    places = [str(stage.folder), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    async with stage.hasten(_APP, "--admin", "127.0.0.1:0", **environment) as ours:
        admin = await _admin(ours.process.log)
        told = [await _ask_while_held(stage, ours, f"{admin}/livez", path, seconds) for path, _, _ in KINDS]
    async with stage.uvicorn(_APP, **environment) as plain:
        beside = [await _ask_while_held(stage, plain, f"{plain.url}/health", path, seconds) for path, _, _ in KINDS]
    named = [
        share_named(answers, places_of(holds, file), seconds=seconds)
        for (_, holds, _), answers in zip(KINDS, told, strict=True)
    ]
    return [
        *(_answered(how, seconds, *both) for (_, _, how), *both in zip(KINDS, told, beside, strict=True)),
        _named(min(named)),
    ]


async def _admin(log: Path) -> str:
    """Return the admin port's URL, which is said behind the service's own.

    Raises:
      Impossible: it is not.
    """
    until = monotonic() + _PATIENCE
    while monotonic() < until:
        if found := _LIVE.search(await asyncio.to_thread(log.read_text, encoding="utf-8")):
            return found[1]
        await asyncio.sleep(_SEEN / 10)
    raise Impossible("the service does not say where its admin port is")


async def _ask_while_held(stage: Stage, service: Service, url: str, path: str, seconds: float) -> list[Answer]:
    """Have the loop held, and ask meanwhile.

    Raises:
      Impossible: the loop was not held.
    """
    place = urlsplit(url)
    stage.say(f"{place.path} is asked for {seconds:g} s, while the loop is held ({path})")
    limits = Limits(connections=1000)
    patience = seconds + _PATIENCE
    async with (
        Client(service.url, timeout=patience, retry=None, breaker=None) as holder,
        Client(f"http://{place.netloc}", timeout=patience, retry=None, breaker=None, limits=limits) as asking,
    ):
        await asking.get(place.path)
        began = monotonic()
        holding = asyncio.create_task(holder.get(f"{path}?{seconds}"))
        try:
            answers = await _ask_until(holding, asking, place.path)
            response = await holding
        finally:
            holding.cancel()
    if not response.ok or monotonic() - began < seconds:
        raise Impossible(f"the loop was to be held for {seconds:g} s, and was not")
    return answers


async def _ask_until(holding: "asyncio.Task[object]", asking: Client, path: str) -> list[Answer]:
    """Ask at a rate of `_RATE` until a task is done, whether or not answers come."""
    began = monotonic()
    asked: list[asyncio.Task[Answer]] = []
    async with asyncio.TaskGroup() as group:
        while True:
            at = (len(asked) + 1) / _RATE
            await asyncio.wait([holding], timeout=began + at - monotonic())
            if holding.done():
                break
            asked.append(group.create_task(_ask(asking, path, began, at)))
    return [task.result() for task in asked]


async def _ask(asking: Client, path: str, began: float, at: float) -> Answer:
    try:
        response = await asking.get(path)
    except HastenError:
        return Answer(at, math.inf, b"")
    return Answer(at, monotonic() - began - at, response.content)


def p99(answers: Sequence[Answer]) -> float:
    """Return the p99 of the seconds that answers took."""
    return quantile([answer.took for answer in answers], 0.99)


def places_of(function: Callable[[float], None], file: Path) -> set[str]:
    """Return how the lines of a function's body are named, where it stands in this file."""
    code = function.__code__
    lines = {line for _, _, line in code.co_lines() if line != code.co_firstlineno}
    return {f"{file}:{line} {function.__name__}" for line in lines}


def share_named(answers: Sequence[Answer], places: set[str], *, seconds: float) -> float:
    """Return which part of the answers says that one of these places holds the loop.

    Args:
      seconds: That it is held: what is answered later counts not, nor what was asked within the first 0.5 s.
    """
    meanwhile = [answer for answer in answers if answer.asked >= _SEEN and answer.asked + answer.took <= seconds]
    return sum(_names(answer.body, places) for answer in meanwhile) / max(1, len(meanwhile))


def _names(body: bytes, places: set[str]) -> bool:
    try:
        said = msgspec.json.decode(body, type=Said)
    except msgspec.MsgspecError:
        return False
    return said.status == "blocked" and said.at in places


def _answered(how: str, seconds: float, ours: Sequence[Answer], plain: Sequence[Answer]) -> Measure:
    return Measure(
        promise=f"p99 of /livez while the loop is held for {seconds:g} s {how}",
        asked=_ASKED * 1e3,
        measured=p99(ours) * 1e3,
        unit="ms",
        beside=PLAIN,
        beside_measured=p99(plain) * 1e3,
    )


def _named(share: float) -> Measure:
    return Measure(
        promise=f"of these answers, those that name the line that holds it, from {_SEEN:g} s on",
        asked=100.0,
        measured=100.0 * share,
        at_least=True,
        unit="%",
    )


BLOCKED = Drill(
    name="blocked",
    about="a handler that holds the event loop for 5 s, while the service is asked how it is",
    run=_run,
)
